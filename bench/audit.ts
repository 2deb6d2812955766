import { createSecretKey } from 'node:crypto';
import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  bundleFile,
  type CallRecord,
  auditKeys,
  digestOf,
  openChain,
  verifyBundle,
  writeBundle,
} from '../src/audit/index.ts';
import { type Line, median, thousands, withFolder } from './support.ts';

const RECORDS = 1_000_000;
const TURN = 64;
/** A head for each second of a server with 1 000 calls/s. */
const RECORDS_PER_HEAD = 1_000;
const CHAINS = 2;
const TARGET_PER_SECOND = 200_000;

const CALL: CallRecord = {
  type: 'call',
  client: 'bench-client',
  wire: 'mcp/0.1',
  key: '0123456789abcdef0123456789abcdef',
  requestId: '019a9d3e-2c51-7d3b-9a51-3f6c9c1d2e4f',
  tool: 'batch_sum',
  request: digestOf('request'),
  reply: digestOf('reply'),
  outcome: 'ok',
};

const keys = auditKeys(createSecretKey(Buffer.alloc(32, 1)));

function newChain() {
  return openChain({ serverId: 'bench-server', key: keys, links: [], now: Date.now });
}

/** What a record costs the call that it tells of, and how fast a bundle of a million is verified. */
export function benchAudit(): Promise<Line[]> {
  return withFolder(async (dir) => [writing(), await verifying(join(dir, 'bundle.jsonl'))]);
}

function writing(): Line {
  const rounds: { readonly ours: number; readonly baseline: number }[] = [];
  for (let i = 0; i < 7; i++) rounds.push({ ours: timeOf(addToChain()), baseline: timeOf(stringify) });
  const ours = median(rounds.slice(2).map((round) => round.ours));
  const baseline = median(rounds.slice(2).map((round) => round.baseline));
  return {
    what: 'audit record of a call',
    ours: `${ours.toFixed(2)} µs`,
    baseline: `${baseline.toFixed(2)} µs JSON.stringify`,
    figure: (baseline / ours).toFixed(2),
    target: '',
    ok: true,
  };
}

/** A turn of the event loop takes what all its calls have added. */
function addToChain(): (index: number) => void {
  const chain = newChain();
  return (index) => {
    chain.add(CALL);
    if (index % TURN === 0) chain.take();
  };
}

function stringify(index: number): string {
  return JSON.stringify({ prev: CALL.reply, seq: index, ms: Date.now(), ...CALL, hash: CALL.reply });
}

/** Microseconds for one. */
function timeOf(work: (index: number) => unknown): number {
  const count = 50_000;
  const startMs = performance.now();
  for (let i = 0; i < count; i++) work(i);
  return ((performance.now() - startMs) / count) * 1_000;
}

async function verifying(path: string): Promise<Line> {
  const { records } = await exportTo(path);
  const perSecond: number[] = [];
  for (let i = 0; i < 3; i++) {
    const startMs = performance.now();
    const verdict = await verifyBundle(bundleFile(path), { key: keys.publicText });
    if (!verdict.ok) throw new Error(verdict.finding.message);
    perSecond.push((verdict.report.records / (performance.now() - startMs)) * 1_000);
  }
  const figure = median(perSecond);
  return {
    what: `audit verify, ${(records / 1e6).toFixed(1)} M records, ${(statSync(path).size / 1e6).toFixed(0)} MB`,
    ours: thousands(figure),
    baseline: '',
    figure: `${(1e6 / figure).toFixed(2)} µs`,
    target: `>= ${TARGET_PER_SECOND / 1_000} k/s`,
    ok: figure >= TARGET_PER_SECOND,
  };
}

async function exportTo(path: string): Promise<{ records: number }> {
  const file = openSync(path, 'w');
  try {
    return await writeBundle({
      source: { chains: async () => Array.from({ length: CHAINS }, (_, i) => `chain-${i}`), read: linesOf },
      write: (piece) => void writeSync(file, piece),
      keys,
      serverId: 'bench-server',
      nowMs: Date.now(),
    });
  } finally {
    closeSync(file);
  }
}

async function* linesOf(id: string): AsyncGenerator<string> {
  const chain = openChain({ id, serverId: 'bench-server', key: keys, links: [], now: Date.now });
  for (let i = 1; i <= RECORDS / CHAINS; i++) {
    chain.add({ ...CALL, requestId: `${id}-request-${i}` });
    if (i % RECORDS_PER_HEAD !== 0) continue;
    chain.head();
    yield chain.take()?.lines ?? '';
  }
  chain.close();
  yield chain.take()?.lines ?? '';
}
