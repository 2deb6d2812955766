import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Fixture, startFixture } from '../../conformance/mcp/fixture-server.ts';
import { cachedPackage } from '../../scripts/cached-package.mjs';
import { node24 } from '../../scripts/node24.mjs';
import { atEnd } from '../system/clean-up.ts';

// Not a dependency: 110 MB that only this file needs, on a later Node than ours.
const VERSION = '2.12.0';
const INSTALL_MS = 300_000;

interface Run {
  readonly code: number | null;
  /** What it prints for programs. */
  readonly result: { readonly [member: string]: unknown } | null;
  readonly stderr: string;
}

let fixture: Fixture;
let program: string;
const home = mkdtempSync(join(tmpdir(), 'waybill-inspector-'));
atEnd(() => rmSync(home, { recursive: true, force: true }));

beforeAll(async () => {
  const folder = cachedPackage('@modelcontextprotocol/inspector', VERSION);
  program = join(folder, 'clients/launcher/build/index.js');
  fixture = await startFixture();
  atEnd(() => fixture.close());
}, INSTALL_MS);

function inspect(era: 'modern' | 'legacy', method: string, ...options: readonly string[]): Promise<Run> {
  const target = ['--cli', fixture.url, '--transport', 'http', '--protocol-era', era];
  const args = [program, ...target, '--method', method, ...options, '--format', 'json'];
  // It keeps files of its own in the home folder.
  const env = { ...process.env, HOME: home, USERPROFILE: home };
  return new Promise((resolve) => {
    const child = execFile(node24().node, args, { env }, (_, stdout, stderr) => {
      const result = stdout === '' ? null : JSON.parse(stdout).result;
      resolve({ code: child.exitCode, result, stderr });
    });
    child.stdin?.end();
  });
}

describe.each(['modern', 'legacy'] as const)("the Inspector's command line, %s", (era) => {
  test('lists the tools', async () => {
    const { code, result } = await inspect(era, 'tools/list');
    const named = (name: string) => expect.objectContaining({ name });
    expect(result?.['tools']).toEqual(expect.arrayContaining([named('greet'), named('slow_compute')]));
    expect(code).toBe(0);
  });

  test('calls a tool', async () => {
    const { code, result } = await inspect(
      era,
      'tools/call',
      '--tool-name',
      'greet',
      '--tool-arg',
      'name=Ada',
    );
    expect(result?.['content']).toEqual([{ type: 'text', text: 'Hello, Ada!' }]);
    expect(code).toBe(0);
  });

  test('shows the failure of a tool', async () => {
    const { code, result, stderr } = await inspect(era, 'tools/call', '--tool-name', 'test_error_handling');
    expect(result).toMatchObject({ isError: true, content: [{ text: 'this tool always fails' }] });
    expect(stderr).toContain('tool_is_error');
    expect(code).not.toBe(0);
  });

  test('gets the result of a job', async () => {
    const args = ['--tool-name', 'slow_compute', '--tool-arg', 'seconds=0.2', 'label=job'];
    const { code, result } = await inspect(era, 'tools/call', ...args);
    expect(result?.['content']).toEqual([{ type: 'text', text: 'job took 0.2 s' }]);
    expect(code).toBe(0);
  });
});

describe("the Inspector's command line and a tool for hosts with Tasks only", () => {
  const call = ['tools/call', '--tool-name', 'failing_job'] as const;

  test('drives the task to its end', async () => {
    const { result } = await inspect('modern', ...call);
    expect(result).toMatchObject({ isError: true, content: [{ text: 'this job always fails' }] });
  });

  test('is told the id of the job, and how to follow it, in a revision without Tasks', async () => {
    const { code, result } = await inspect('legacy', ...call);
    expect(JSON.stringify(result?.['content'])).toMatch(/poll_job/);
    expect(code).toBe(0);
  });
});
