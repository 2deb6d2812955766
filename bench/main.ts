/** `npm run bench [part …]`: measures and prints one table. Exit code 1 if a target is missed. */
import { cpus } from 'node:os';
import { benchAudit } from './audit.ts';
import { benchAuditCalls } from './audit-calls.ts';
import { benchBomb, benchCodec } from './codec.ts';
import { benchEngines } from './engines.ts';
import { benchHttp } from './http.ts';
import { benchJobs } from './jobs.ts';
import { benchLimits } from './limits.ts';
import { benchMcp, benchTasks } from './mcp.ts';
import { benchMemory } from './memory.ts';
import { benchProxy } from './proxy.ts';
import { benchReplicas } from './replicas.ts';
import { benchRotation } from './rotation.ts';
import { benchClientSize, benchStart } from './start.ts';
import type { Line } from './support.ts';

const PARTS: Readonly<Record<string, () => Promise<Line[]> | Line[]>> = {
  codec: benchCodec,
  bomb: benchBomb,
  http: benchHttp,
  audit: benchAudit,
  'audit-calls': benchAuditCalls,
  jobs: benchJobs,
  engines: benchEngines,
  replicas: benchReplicas,
  limits: benchLimits,
  rotation: benchRotation,
  mcp: benchMcp,
  tasks: benchTasks,
  proxy: benchProxy,
  memory: benchMemory,
  start: benchStart,
  size: benchClientSize,
};

const COLUMNS = ['what', 'ours', 'baseline', 'figure', 'target'] as const;

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PARTS);
const lines: Line[] = [];
for (const name of names) {
  const part = PARTS[name];
  if (part === undefined) {
    console.error(`no part "${name}": choose from ${Object.keys(PARTS).join(', ')}`);
    process.exit(2);
  }
  if (process.stderr.isTTY) process.stderr.write(`measuring ${name} …\n`);
  lines.push(...(await part()));
}
printTable(lines);
if (lines.some((line) => !line.ok)) process.exitCode = 1;

function printTable(rows: readonly Line[]): void {
  const headings = {
    what: 'measured',
    ours: 'waybill',
    baseline: 'baseline',
    figure: 'ratio',
    target: 'target',
  };
  const widths = COLUMNS.map((column) => Math.max(...[headings, ...rows].map((row) => row[column].length)));
  const format = (row: Record<(typeof COLUMNS)[number], string>) =>
    COLUMNS.map((column, i) => row[column].padEnd(widths[i] ?? 0)).join('  ');
  console.log(
    `Node ${process.version}, ${cpus().length} cores; ratio: times better than the baseline in the same run\n`,
  );
  console.log(format(headings));
  console.log(widths.map((width) => '-'.repeat(width)).join('  '));
  for (const row of rows)
    console.log(`${format(row)}  ${row.target === '' ? '' : row.ok ? 'reached' : 'MISSED'}`.trimEnd());
}
