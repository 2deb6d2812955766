import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exchange, Failure, type Reply, Unreachable, writeRequest } from './runner/endpoint.ts';
import { type Credential, keysOf } from './runner/keys.ts';
import { allCases, type Case, selfCheck } from './runner/suites.ts';
import { randomUUID } from 'node:crypto';

const USAGE = `Checks an HTTP endpoint against the vectors of mcp/0.1.

usage: run.ts --credential FILE [--url http://host:port/call] [--only TEXT] [--json]

  --credential FILE  JSON with client_id, server_id, url, algorithm, request_key, response_key
  --url URL          instead of the url of the credential
  --only TEXT        only cases whose line contains the text
  --json             one JSON document instead of lines

exit code: 0 nothing failed, 1 something failed, 2 could not be run
`;

type Verdict = 'pass' | 'FAIL' | 'skip';

interface Judged {
  readonly suite: string;
  readonly name: string;
  readonly verdict: Verdict;
  readonly reason: string | null;
}

/** The run cannot begin; the message says what to do. */
class UsageError extends Error {}

function readOptions(argv: string[]): { credential: Credential; only: string; json: boolean } {
  const options = {
    credential: { type: 'string' },
    url: { type: 'string' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args: argv, options, strict: true });
  if (values.credential === undefined) throw new UsageError('--credential FILE is missing');
  const credential = readCredential(values.credential);
  const url = values.url ?? credential.url;
  if (!/^https?:\/\//.test(url ?? '')) throw new UsageError('--url must be like http://127.0.0.1:8080/call');
  return { credential: { ...credential, url }, only: values.only, json: values.json };
}

function readCredential(file: string): Credential {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    // The message of a parser would quote the file, which holds secrets.
    const why = error instanceof SyntaxError ? 'is not JSON' : error instanceof Error ? error.message : '';
    throw new UsageError(`credential file ${file}: ${why}`);
  }
  for (const name of ['client_id', 'server_id', 'request_key', 'response_key']) {
    const member: unknown = Reflect.get(Object(value), name);
    if (typeof member !== 'string' || member === '')
      throw new UsageError(`credential file ${file}: ${name} is missing`);
  }
  // The four members that every run needs have just been checked.
  const credential = value as Credential;
  try {
    keysOf(credential);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`credential file ${file}: ${error.message}`);
  }
  return credential;
}

/** How long a server may take to know a client that was added just now. */
const NEW_CLIENT_MS = 3_000;

/** Names of the server's tools, so that cases which need others can be skipped; none if it cannot say. */
async function toolsOf(credential: Credential): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const { client_id, server_id } = credential;
  const { sign } = keysOf(credential);
  const giveUpMs = Date.now() + NEW_CLIENT_MS;
  let args: object | null = {};
  while (args !== null) {
    const fresh = { request_id: randomUUID(), nonce: randomUUID(), ts_ms: Date.now() };
    const members = { v: 'mcp/0.1', client_id, server_id, tool: 'list_tools', args, ...fresh };
    let reply: Reply;
    try {
      reply = await exchange(credential, writeRequest(members, sign));
    } catch (error) {
      // The case of list_tools will say so.
      if (error instanceof Failure) return names;
      throw error;
    }
    if (!reply.signed && Date.now() < giveUpMs) {
      await sleep(200);
      continue;
    }
    const tools: unknown = Reflect.get(Object(reply.result), 'tools');
    const cursor: unknown = Reflect.get(Object(reply.result), 'next_cursor');
    const before = names.size;
    for (const tool of Array.isArray(tools) ? tools : []) {
      names.add(String(Reflect.get(Object(tool), 'name')));
    }
    // A page without news ends it, whatever its cursor says.
    args = typeof cursor === 'string' && names.size > before ? { cursor } : null;
  }
  return names;
}

async function judge({ suite, name, skip, run }: Case): Promise<Judged> {
  if (skip !== null) return { suite, name, verdict: 'skip', reason: skip };
  try {
    await run();
    return { suite, name, verdict: 'pass', reason: null };
  } catch (error) {
    if (error instanceof Failure || error instanceof Unreachable) {
      return { suite, name, verdict: 'FAIL', reason: error.message };
    }
    throw error;
  }
}

async function main(argv: string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { credential, only, json } = readOptions(argv);
  const broken = selfCheck();
  if (broken !== null) throw new UsageError(`the runner itself does not hold to ${broken}`);
  const cases = allCases(credential, await toolsOf(credential));
  const chosen = cases.filter(({ suite, name }) => `${suite}: ${name}`.includes(only));
  if (chosen.length === 0) throw new UsageError(`no case contains ${JSON.stringify(only)}`);
  const judged: Judged[] = [];
  for (const one of chosen) {
    const result = await judge(one);
    judged.push(result);
    if (!json) process.stdout.write(`${lineOf(result)}\n`);
  }
  const count = (verdict: Verdict): number => judged.filter((one) => one.verdict === verdict).length;
  const [passed, failed, skipped] = [count('pass'), count('FAIL'), count('skip')];
  const report = JSON.stringify({ url: credential.url, passed, failed, skipped, cases: judged }, null, 2);
  process.stdout.write(json ? `${report}\n` : `${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed === 0 ? 0 : 1;
}

function lineOf({ verdict, suite, name, reason }: Judged): string {
  return `${verdict}  ${suite}: ${name}${reason === null ? '' : ` -- ${reason}`}`;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const why = error instanceof Error ? error.message : String(error);
  process.stderr.write(error instanceof Unreachable ? `the server does not answer: ${why}\n` : `${why}\n`);
  process.exitCode = 2;
}
