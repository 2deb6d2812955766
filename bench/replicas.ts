import { startPostgres } from '../test/support/services/index.ts';
import { type Running, start } from './http.ts';
import { callsTo, load } from './load.ts';
import { type Line, median, signedRequest, thousands } from './support.ts';

const CONNECTIONS = 64;
const CALLS = 20_000;
const ROUNDS = 5;

/** Signed batch_sum over HTTP on one PostgreSQL: one replica, then the same load on two. */
export async function benchReplicas(): Promise<Line[]> {
  const postgres = await startPostgres();
  const replicas: Running[] = [];
  try {
    for (const kind of ['waybill', 'replica']) replicas.push(await start(kind, postgres.url));
    const rates: { readonly one: number; readonly two: number }[] = [];
    await rate(replicas);
    for (let round = 0; round < ROUNDS; round++)
      rates.push({ one: await rate(replicas.slice(0, 1)), two: await rate(replicas) });
    return [
      {
        what: `signed batch_sum on PostgreSQL, two replicas, ${CONNECTIONS} connections`,
        ours: thousands(median(rates.map(({ two }) => two))),
        baseline: `${thousands(median(rates.map(({ one }) => one)))} one replica`,
        figure: median(rates.map(({ one, two }) => two / one)).toFixed(2),
        target: '',
        ok: true,
      },
    ];
  } finally {
    for (const { child } of replicas) child.kill();
    await postgres.stop();
  }
}

/** Calls per second of all of them together. */
async function rate(replicas: readonly Running[]): Promise<number> {
  const bodies = Array.from({ length: CALLS }, () => signedRequest());
  const share = CALLS / replicas.length;
  const startMs = performance.now();
  const results = await Promise.all(
    replicas.map(({ port }, n) =>
      load(callsTo(port), bodies.slice(n * share, (n + 1) * share), CONNECTIONS / replicas.length),
    ),
  );
  const notOk = results.reduce((sum, result) => sum + result.notOk, 0);
  if (notOk > 0) throw new Error(`${notOk} of ${CALLS} calls were not answered with ok`);
  return CALLS / ((performance.now() - startMs) / 1_000);
}
