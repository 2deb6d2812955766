import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addCall } from './call.ts';
import { addClients } from './clients.ts';
import { addDemo } from './demo.ts';
import { addJobs } from './jobs.ts';
import { addServe } from './serve.ts';
import { addTools } from './tools.ts';
import { endInOneLine } from './verb.ts';

/** The command line: every verb with its options. What a verb needs to run is loaded when it runs. */
export function createProgram(): Command {
  const program = new Command('waybill')
    .description('Signed, asynchronous tool calls between AI agents.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [verb]', 'print the help of a verb')
    .addHelpText('after', '\nNew here? See the whole protocol at work in a few seconds:\n  $ waybill demo');
  endInOneLine(program);
  for (const add of [addDemo, addServe, addClients, addCall, addJobs, addTools]) add(program);
  return program;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  // Our own file.
  return (manifest as { version: string }).version;
}
