import { startPostgres } from '../test/support/services/index.ts';
import { type Round, round, start } from './http.ts';
import { type Line, median, thousands, withFolder } from './support.ts';

const ROUNDS = 9;
/** What limits may leave of the calls a second without them, where they take no round trip. */
const LEAST = 0.9;

/** Signed calls over HTTP of a client with scopes and a rate limit that is never reached, against one without. */
export async function benchLimits(): Promise<Line[]> {
  const inMemory = await withFolder((dir) =>
    compare('SQLite', [`sqlite:${dir}/without`, `sqlite:${dir}/with`], 20_000, LEAST),
  );
  const postgres = await startPostgres();
  const other = await startPostgres();
  try {
    return [inMemory, await compare('PostgreSQL', [postgres.url, other.url], 5_000, null)];
  } finally {
    await Promise.all([postgres.stop(), other.stop()]);
  }
}

async function compare(
  name: string,
  [without, within]: readonly [string, string],
  calls: number,
  least: number | null,
): Promise<Line> {
  const servers = [await start('waybill', without), await start('limited', within)] as const;
  const pairs: { readonly free: Round; readonly limited: Round }[] = [];
  try {
    for (const server of servers) await round(server, calls);
    for (let i = 0; i < ROUNDS; i++) {
      // Each goes first as often as the other: what ran before makes a difference on a busy machine.
      const first = i % 2 === 0 ? await round(servers[0], calls) : null;
      const limited = await round(servers[1], calls);
      pairs.push({ free: first ?? (await round(servers[0], calls)), limited });
    }
  } finally {
    for (const { child } of servers) child.kill();
  }
  const of = (pick: (pair: (typeof pairs)[number]) => number) => median(pairs.map(pick));
  const ratio = of(({ free, limited }) => limited.perSecond / free.perSecond);
  return {
    what: `calls over HTTP of a client with limits, ${name}`,
    ours: `${thousands(of(({ limited }) => limited.perSecond))}, ${of(({ limited }) => limited.cpuUs).toFixed(1)} µs CPU`,
    baseline: `${thousands(of(({ free }) => free.perSecond))}, ${of(({ free }) => free.cpuUs).toFixed(1)} µs CPU without`,
    figure: ratio.toFixed(2),
    target: least === null ? '' : `≥ ${least.toFixed(2)}`,
    ok: least === null || ratio >= least,
  };
}
