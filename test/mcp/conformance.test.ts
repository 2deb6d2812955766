import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { EXCEPTIONS } from '../../conformance/mcp/exceptions.ts';
import { type Judged, judge, judgeAll } from '../../conformance/mcp/judge.ts';
import { type Check, scenariosOf } from '../../conformance/mcp/official-runner.ts';
import { ROOT } from '../../scripts/setup.mjs';

const JITI = join(ROOT, 'node_modules/jiti/lib/jiti-cli.mjs');
// A run takes 15 s; the first one on a machine installs Node 24.
const RUN_MS = 300_000;

interface Report {
  readonly code: number | null;
  readonly scenarios: readonly Judged[];
}

function runAll(): Promise<Report> {
  return new Promise((resolve, reject) => {
    const args = [JITI, 'conformance/mcp/run.ts', '--json'];
    const child = execFile(process.execPath, args, { cwd: ROOT, maxBuffer: 1 << 24 }, (_, stdout, stderr) => {
      if (stdout === '') reject(new Error(`the run gave no report\n${stderr}`));
      else resolve({ code: child.exitCode, scenarios: JSON.parse(stdout).scenarios });
    });
  });
}

describe('the official conformance runner of the Model Context Protocol', () => {
  let report: Report;

  beforeAll(async () => {
    report = await runAll();
  }, RUN_MS);

  describe.each(['2026-07-28', '2025-11-25'] as const)('revision %s', (revision) => {
    test.each(scenariosOf(revision))('%s holds, or is listed with a reason', (scenario) => {
      const judged = report.scenarios.filter((one) => one.revision === revision && one.scenario === scenario);
      const listed = EXCEPTIONS[revision].some((exception) => exception.scenario === scenario);
      expect(judged).toEqual([expect.objectContaining({ verdict: listed ? 'listed' : 'passed' })]);
    });
  });

  test('ends with exit code 0', () => {
    const wrong = report.scenarios.filter(({ verdict }) => verdict === 'failed' || verdict === 'stale');
    expect(wrong).toEqual([]);
    expect(report.code).toBe(0);
  });
});

describe('a verdict', () => {
  const held: Check = { id: 'a', status: 'SUCCESS', description: 'a' };
  const broken: Check = { id: 'b', status: 'FAILURE', description: 'b', errorMessage: 'not so' };
  const reason = 'there is none here';

  test.each([
    ['all checks hold', [held], undefined, 'passed'],
    ['one does not hold', [held, broken], undefined, 'failed'],
    ['a SHOULD does not hold', [held, { ...broken, status: 'WARNING' }], undefined, 'failed'],
    ['it did not run', undefined, undefined, 'failed'],
    ['it did not run, and is listed', undefined, { scenario: 's', reason }, 'failed'],
    ['nothing was looked at', [{ ...held, status: 'SKIPPED' }], undefined, 'failed'],
    ['only the form of messages was looked at', [{ ...held, id: 'wire-schema-valid' }], undefined, 'failed'],
    ['it is listed and does not hold', [broken], { scenario: 's', reason }, 'listed'],
    ['it is listed and holds', [held], { scenario: 's', reason }, 'stale'],
    [
      'a check is listed and does not hold',
      [held, broken],
      { scenario: 's', checks: ['b'], reason },
      'listed',
    ],
    [
      'a check is listed and another does not hold',
      [broken],
      { scenario: 's', checks: ['c'], reason },
      'failed',
    ],
    ['a check is listed and holds', [held], { scenario: 's', checks: ['a'], reason }, 'stale'],
  ] as const)('when %s', (_, checks, exception, verdict) => {
    expect(judge(checks, exception).verdict).toBe(verdict);
  });

  test('of a scenario that gave no results is failed, listed or not', () => {
    const judged = judgeAll('2025-11-25', new Map());
    expect(judged.map(({ verdict }) => verdict)).toEqual(scenariosOf('2025-11-25').map(() => 'failed'));
  });
});
