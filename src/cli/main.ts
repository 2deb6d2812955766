#!/usr/bin/env node
import { CommanderError } from 'commander';
import { failureOf } from './exits.ts';
import { report } from './output.ts';
import { createProgram } from './program.ts';

const args = process.argv.slice(2);
/** Known before the options are parsed, because that may fail too. */
const json = process.argv.includes('--json');

function end(error: unknown): number {
  // Help and version are printed; there is nothing to report.
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  return report(failureOf(error), json);
}

// The reader of our output has gone, like `head`: nobody is left to be told.
process.stdout.on('error', () => process.exit());
// From a user's module, or a fault of ours: the state is unknown, and what was acknowledged is on disk.
process.on('uncaughtException', (error) => process.exit(end(error)));

// Not awaited at the top level: Node would warn of it when a module never finishes loading.
createProgram()
  .parseAsync(args, { from: 'user' })
  .catch((error: unknown) => {
    // A module that was loaded may hold timers and connections of its own.
    process.exit(end(error));
  });
