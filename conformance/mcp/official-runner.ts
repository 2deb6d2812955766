import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import { node24 } from '../../scripts/node24.mjs';
import type { Revision } from './exceptions.ts';

/** One thing that a scenario looked at. */
export interface Check {
  readonly id: string;
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  readonly description: string;
  readonly errorMessage?: string;
}

/** What each scenario looked at, by its name. */
export type Results = ReadonlyMap<string, readonly Check[]>;

const require = createRequire(import.meta.url);
const MAIN = require.resolve('@modelcontextprotocol/conformance/dist/index.js');

/** Every scenario that the runner has for servers of a revision: the required ones, Tasks, and what came later. */
export function scenariosOf(revision: Revision): readonly string[] {
  const file = join(dirname(dirname(MAIN)), 'requirements', `${revision}.yaml`);
  const { server, not_scored: others }: Requirements = parse(readFileSync(file, 'utf8'));
  return [...server, ...others.filter(({ leg }) => leg === 'server').map(({ scenario }) => scenario)];
}

interface Requirements {
  readonly server: readonly string[];
  readonly not_scored: readonly { readonly scenario: string; readonly leg: 'server' | 'client' }[];
}

/**
 * Runs the official runner against a URL, on Node 24: it needs a later Node than we do.
 *
 * @param begun is told each scenario when it begins
 * @throws Error when it ends without having run a scenario
 */
export async function runOfficial(
  url: string,
  revision: Revision,
  begun: (scenario: string) => void,
): Promise<Results> {
  const folder = mkdtempSync(join(tmpdir(), 'waybill-mcp-results-'));
  try {
    const args = [MAIN, 'server', '--url', url, '--requirements', revision, '--output-dir', folder];
    const child = spawn(node24().node, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const scenario = /^=== Running scenario: (\S+) ===$/.exec(line)?.[1];
      if (scenario !== undefined) begun(scenario);
    });
    // Its exit code only counts failures, and we count them ourselves.
    const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    const [complaints] = await Promise.all([text(child.stderr), ended]);
    const results = readResults(folder);
    if (results.size === 0) throw new Error(`the official runner ran nothing\n${complaints}`);
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A folder for each scenario, named after it and the time; without results if the scenario broke. */
function readResults(folder: string): Results {
  const results = new Map<string, readonly Check[]>();
  for (const name of readdirSync(folder)) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(name)?.[1];
    const file = join(folder, name, 'checks.json');
    if (scenario !== undefined && existsSync(file))
      results.set(scenario, JSON.parse(readFileSync(file, 'utf8')));
  }
  return results;
}
