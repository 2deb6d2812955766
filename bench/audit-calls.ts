import { join } from 'node:path';
import { readdirSync, statSync } from 'node:fs';
import { type Round, round, start } from './http.ts';
import { type Line, median, thousands, withFolder } from './support.ts';

const CALLS = 20_000;
const ROUNDS = 9;
/** What the audit and the limits may take of the calls a second without them. */
const LEAST = 0.85;

const KINDS = ['waybill', 'audited', 'trusted'] as const;
type Kind = (typeof KINDS)[number];

/** The whole pipeline over HTTP without audit and limits, with the audit, and with both, in turns. */
export async function benchAuditCalls(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const storeOf = (kind: Kind) => `sqlite:${join(dir, kind)}`;
    const servers = await Promise.all(KINDS.map((kind) => start(kind, storeOf(kind))));
    for (const server of servers) await round(server, CALLS);
    const rounds: Round[][] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const one: Round[] = [];
      // Each starts as often as any other: what ran before makes a difference on a busy machine.
      for (let n = 0; n < servers.length; n++) {
        const at = (n + i) % servers.length;
        const server = servers[at];
        if (server !== undefined) one[at] = await round(server, CALLS);
      }
      rounds.push(one);
    }
    for (const { child } of servers) child.kill();
    const bytes = sizeOf(join(dir, 'audited', 'audit')) / (CALLS * (ROUNDS + 1));
    return [
      line('the audit', rounds, 1, ''),
      line('the audit and the limits of a client', rounds, 2, `≥ ${LEAST.toFixed(2)}`),
      cpuLine(rounds),
      {
        what: 'the audit on the disk',
        ours: `${bytes.toFixed(0)} bytes a call`,
        baseline: '',
        figure: '',
        target: '',
        ok: true,
      },
    ];
  });
}

function line(what: string, rounds: readonly Round[][], at: number, target: string): Line {
  const of = (n: number, pick: keyof Round) => median(rounds.map((each) => each[n]?.[pick] ?? Number.NaN));
  const ratio = median(
    rounds.map((each) => (each[at]?.perSecond ?? Number.NaN) / (each[0]?.perSecond ?? Number.NaN)),
  );
  return {
    what: `calls over HTTP with ${what}`,
    ours: thousands(of(at, 'perSecond')),
    baseline: `${thousands(of(0, 'perSecond'))} without`,
    figure: ratio.toFixed(2),
    target,
    ok: target === '' || ratio >= LEAST,
  };
}

/** Steadier than calls a second where others use the machine as well. */
function cpuLine(rounds: readonly Round[][]): Line {
  const of = (n: number) => median(rounds.map((each) => each[n]?.cpuUs ?? Number.NaN));
  const ratio = median(rounds.map((each) => (each[0]?.cpuUs ?? Number.NaN) / (each[2]?.cpuUs ?? Number.NaN)));
  return {
    what: 'the same as CPU time of the server process',
    ours: `${of(2).toFixed(1)} µs`,
    baseline: `${of(0).toFixed(1)} µs without`,
    figure: ratio.toFixed(2),
    target: '',
    ok: true,
  };
}

function sizeOf(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}
