import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { EXCEPTIONS, type Revision } from '../../conformance/mcp/exceptions.ts';
import { scenariosOf } from '../../conformance/mcp/official-runner.ts';
import { createProgram } from '../../src/cli/program.ts';
import { CODES, type Code, ProtocolError } from '../../src/errors/index.ts';
import { defineTool } from '../../src/index.ts';
import type { JobView } from '../../src/mcp/backend.ts';
import { detailedTask } from '../../src/mcp/modern/tasks.ts';
import { type RpcError, rpcErrorOf } from '../../src/mcp/rpc.ts';
import { type Answer, type Face, startFace } from '../mcp/face.ts';
import { z } from 'zod';

const guide = readFileSync(new URL('../../docs/guides/mcp.md', import.meta.url), 'utf8');

/** Rows of the tables whose head begins with these cells, without backticks; a minus sign is one of ASCII. */
function rows(...head: readonly string[]): string[][] {
  const [, ...tables] = guide.split(`| ${head.join(' | ')} |`);
  expect(tables.length).toBeGreaterThan(0);
  return tables.flatMap((table) => {
    const [, , ...lines] = table.split('\n\n', 1)[0]?.split('\n') ?? [];
    return lines.map((line) => line.split('|').slice(1, -1).map(plain));
  });
}

function plain(cell: string): string {
  return cell.trim().replaceAll('`', '').replace(/^−/, '-');
}

/** The errors that have a name of their own in src/mcp/rpc.ts. */
type Kind = Extract<ConstructorParameters<typeof RpcError>[0], string>;

const JSON_TYPE = { 'content-type': 'application/json' };

/** A request for each of them; one that is new there does not compile here. */
const REFUSED: Readonly<Record<Kind, (face: Face) => Promise<Answer>>> = {
  parseError: (face) => face.raw('{', JSON_TYPE),
  invalidRequest: (face) => face.raw('[]', JSON_TYPE),
  methodNotFound: (face) => face.ask('tools/none'),
  invalidMeta: (face) => face.ask('tools/list', { _meta: {} }),
  headerMismatch: (face) => face.ask('tools/list', {}, { headers: { 'mcp-method': 'tools/call' } }),
  missingCapability: (face) => face.ask('tasks/get', { taskId: 'job_1' }),
  unsupportedVersion: (face) => {
    const version = '1900-01-01';
    const meta = { 'io.modelcontextprotocol/protocolVersion': version };
    return face.ask('tools/list', { _meta: meta }, { headers: { 'mcp-protocol-version': version } });
  },
  invalidParams: (face) => face.call('none'),
  internal: (face) => face.call('broken'),
};

/** What is refused before it is a message. */
const NO_MESSAGE: readonly ((face: Face) => Promise<Answer>)[] = [
  (face) => face.ask('tools/list', {}, { token: null }),
  (face) => face.ask('tools/list', {}, { headers: { origin: 'https://elsewhere.example' } }),
  (face) => face.raw('', {}, 'GET'),
  (face) => face.raw(' '.repeat(1_048_577), JSON_TYPE),
  (face) => face.raw('{}', { 'content-type': 'text/plain' }),
];

const broken = defineTool({
  name: 'broken',
  description: 'Fails.',
  input: z.object({}),
  output: z.object({}),
  annotations: { readOnlyHint: true },
  run() {
    throw new Error('unforeseen');
  },
});

const JOB: JobView = {
  id: 'job_1',
  tool: 'any',
  state: 'queued',
  progress: null,
  questions: {},
  result: null,
  error: null,
  createdMs: 0,
  updatedMs: 0,
  ttlMs: 1,
  pollAfterMs: 1,
};
const question = { message: 'Sure?', schema: { type: 'object', properties: {} } };

/** In the order of the table. */
const JOBS: readonly Partial<JobView>[] = [
  { state: 'queued' },
  { state: 'running', progress: { completed: 1 } },
  { state: 'running', questions: { sure: question } },
  { state: 'succeeded', result: {} },
  { state: 'failed', error: 'job_failed: no paper' },
  { state: 'failed', error: 'job_failed: internal: the tool failed' },
  { state: 'expired', error: 'deadline_exceeded: the job did not end in time' },
  { state: 'cancelled', error: 'cancelled: by the client' },
];

describe('docs/guides/mcp.md', () => {
  it('has every code and HTTP status that a request is refused with, no others', async () => {
    const face = await startFace({ tools: [broken] });
    const seen: string[] = [];
    for (const refused of [...Object.values(REFUSED), ...NO_MESSAGE]) {
      const { status, message } = await refused(face);
      seen.push(`${message.error.code} ${status}`);
    }
    const documented = rows('code', 'HTTP').map(([code, http]) => `${code} ${http}`);
    expect(documented.sort()).toEqual(seen.sort());
  });

  it('has the numbers of the codes of Waybill', () => {
    // The keys of the table are the codes.
    const numbers = (Object.keys(CODES) as Code[]).map(
      (code) => [code, rpcErrorOf(new ProtocolError(code, 'no')).code] as const,
    );
    const standard = numbers.filter(([code, number]) => number !== CODES[code].httpStatus);
    expect(standard).toEqual([
      ['unknown_tool', -32_602],
      ['invalid_args', -32_602],
      ['not_found', -32_602],
      ['internal', -32_603],
    ]);
    for (const [number, code] of rows('code', '`data.code`'))
      expect(numbers).toContainEqual([code, Number(number)]);
  });

  it('has the status of the task for every state of a job', () => {
    const documented = rows('job', 'task');
    const seen = JOBS.map((job) => {
      const { status, ...task } = detailedTask({ ...JOB, ...job }, undefined);
      return { status, has: Object.keys(task) };
    });
    expect(documented.map(([job, task]) => [job?.split(',')[0]?.split(' ')[0], task])).toEqual(
      seen.map(({ status }, i) => [JOBS[i]?.state, status]),
    );
    for (const [i, [, , member = '']] of documented.entries())
      if (member !== '') expect(seen[i]?.has).toContain(/^\w+/.exec(member)?.[0]);
  });

  it('has the scenarios of the official runner that pass', () => {
    const documented = new Map(rows('revision', 'scenarios').map(([revision, names]) => [revision, names]));
    // The keys of the table are what its type says.
    for (const revision of Object.keys(EXCEPTIONS) as Revision[]) {
      const listed = new Set(EXCEPTIONS[revision].map(({ scenario }) => scenario));
      const passing = scenariosOf(revision).filter((scenario) => !listed.has(scenario));
      expect(documented.get(revision)?.split(', ')).toEqual([...passing].sort());
    }
  });

  it('has configurations that are JSON', () => {
    const blocks = [...guide.matchAll(/```json\n([\s\S]*?)```/g)].map(([, text = '']) => text);
    expect(blocks.length).toBeGreaterThanOrEqual(4);
    for (const text of blocks) expect(() => void JSON.parse(text)).not.toThrow();
  });

  it('shows only command lines that the program takes', async () => {
    const typed = [...guide.matchAll(/^\$ waybill (.*?)(?: &)?$/gm)].map(([, line = '']) => line.split(' '));
    const [started = ''] = /"args": (\[.*"mcp".*\])/.exec(guide)?.slice(1) ?? [];
    const args: unknown = JSON.parse(started);
    expect(args).toEqual(expect.arrayContaining([expect.stringMatching(/main\.js$/)]));
    // A list of strings, as the line above shows.
    const lines = [...typed, (args as string[]).slice(1)];
    expect(lines.length).toBeGreaterThan(8);
    for (const words of lines) {
      const program = createProgram();
      muteAll(program);
      await program.parseAsync(words, { from: 'user' });
    }
  });
});

/** Commands are parsed and not run. */
function muteAll(command: Command): void {
  command.action(() => {});
  for (const sub of command.commands) muteAll(sub);
}
