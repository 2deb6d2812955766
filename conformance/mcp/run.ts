import { parseArgs } from 'node:util';
import type { Revision } from './exceptions.ts';
import { startFixture } from './fixture-server.ts';
import { type Judged, judgeAll, type Verdict } from './judge.ts';
import { runOfficial } from './official-runner.ts';

const USAGE = `Runs the official conformance runner of the Model Context Protocol against a server with fixture tools.

usage: run.ts [--revision 2026-07-28 | 2025-11-25] [--json]

  --revision DATE  only this revision
  --json           one JSON document instead of a table

exit code: 0 nothing failed but what conformance/mcp/exceptions.ts lists, 1 something else failed, or something
that it lists passes, 2 could not be run
`;

/** The revisions, and how many scenarios the runner must have for each: fewer would be a runner that lost some. */
const EXPECTED: Readonly<Record<Revision, number>> = { '2026-07-28': 50, '2025-11-25': 33 };

/** The run cannot begin; the message says what to do. */
class UsageError extends Error {}

function readOptions(argv: string[]): { revisions: readonly Revision[]; json: boolean } {
  const options = { revision: { type: 'string' }, json: { type: 'boolean', default: false } } as const;
  const { values } = parseArgs({ args: argv, options, strict: true });
  // The keys of the table are what its type says.
  const all = Object.keys(EXPECTED) as Revision[];
  const revisions = all.filter((revision) => values.revision === undefined || revision === values.revision);
  if (revisions.length === 0) throw new UsageError(`--revision must be ${all.join(' or ')}`);
  return { revisions, json: values.json };
}

async function runAll(revisions: readonly Revision[]): Promise<readonly Judged[]> {
  const judged: Judged[] = [];
  for (const revision of revisions) {
    // Each on a new server: what one revision leaves behind is no business of the other.
    const fixture = await startFixture();
    try {
      judged.push(...judgeAll(revision, await runOfficial(fixture.url, revision, showProgress(revision))));
    } finally {
      showLine('');
      await fixture.close();
    }
  }
  return judged;
}

function showProgress(revision: Revision): (scenario: string) => void {
  let begun = 0;
  return (scenario) => {
    begun += 1;
    showLine(`${revision} ${begun}/${EXPECTED[revision]} ${scenario}`);
  };
}

/** One line that the next one takes the place of; nothing where nobody looks. */
function showLine(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${line}`);
}

const MARKS: Readonly<Record<Verdict, string>> = {
  passed: 'pass  ',
  listed: 'listed',
  failed: 'FAIL  ',
  stale: 'STALE ',
};

function table(judged: readonly Judged[]): string {
  const lines = judged.flatMap(({ revision, scenario, verdict, held, notes }) => {
    const [first = '', ...rest] = notes;
    const told = verdict === 'passed' ? `${held} checks` : first;
    return [
      `${MARKS[verdict]}  ${revision}  ${scenario} -- ${told}`,
      ...rest.map((note) => `${' '.repeat(20)}${note}`),
    ];
  });
  return lines.join('\n');
}

async function main(argv: string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { revisions, json } = readOptions(argv);
  const judged = await runAll(revisions);
  const count = (wanted: Verdict) => judged.filter(({ verdict }) => verdict === wanted).length;
  const counts = {
    passed: count('passed'),
    listed: count('listed'),
    failed: count('failed'),
    stale: count('stale'),
  };
  if (json) process.stdout.write(`${JSON.stringify({ ...counts, scenarios: judged })}\n`);
  else {
    const { passed, listed, failed, stale } = counts;
    process.stdout.write(
      `${table(judged)}\n\n${passed} passed, ${listed} listed, ${failed} failed, ${stale} stale\n`,
    );
  }
  const missing = revisions.filter(
    (revision) => judged.filter((one) => one.revision === revision).length < EXPECTED[revision],
  );
  for (const revision of missing)
    process.stderr.write(`${revision}: the runner has fewer scenarios than ${EXPECTED[revision]}\n`);
  return counts.failed + counts.stale + missing.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const misuse = error instanceof UsageError || (error instanceof TypeError && 'code' in error);
  process.stderr.write(`${misuse ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 2;
}
