import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { callsTo, load } from './load.ts';
import { type Line, median, signedRequest, thousands, withFolder } from './support.ts';

const CONNECTIONS = 64;
const CALLS = 40_000;
const ROUNDS = 7;

export interface Running {
  readonly child: ChildProcess;
  readonly port: number;
}

/** Signed batch_sum over HTTP, every request signed right before its round, against the minimal server. */
export async function benchHttp(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const ours = await start('waybill', `sqlite:${dir}`);
    const minimal = await start('minimal', '');
    await round(ours, CALLS);
    await round(minimal, CALLS);
    const pairs: { readonly ours: Round; readonly minimal: Round }[] = [];
    for (let i = 0; i < ROUNDS; i++)
      pairs.push({ ours: await round(ours, CALLS), minimal: await round(minimal, CALLS) });
    ours.child.kill();
    minimal.child.kill();
    const rate = median(pairs.map((pair) => pair.ours.perSecond / pair.minimal.perSecond));
    const cpu = median(pairs.map((pair) => pair.minimal.cpuUs / pair.ours.cpuUs));
    const of = (pick: (pair: (typeof pairs)[number]) => number) => median(pairs.map(pick));
    return [
      {
        what: `signed batch_sum over HTTP, ${CONNECTIONS} connections`,
        ours: thousands(of((pair) => pair.ours.perSecond)),
        baseline: `${thousands(of((pair) => pair.minimal.perSecond))} minimal signed server`,
        figure: rate.toFixed(2),
        target: '≥ 0.90',
        ok: rate >= 0.9,
      },
      {
        what: 'the same as CPU time of the server process',
        ours: `${of((pair) => pair.ours.cpuUs).toFixed(1)} µs`,
        baseline: `${of((pair) => pair.minimal.cpuUs).toFixed(1)} µs minimal signed server`,
        figure: cpu.toFixed(2),
        target: '',
        ok: true,
      },
    ];
  });
}

/** @param kind and URL of the store, as http-server.ts takes them */
export async function start(kind: string, store: string): Promise<Running> {
  const child = fork(fileURLToPath(new URL('./http-server.js', import.meta.url)), [kind, store]);
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return { child, port: message.port };
}

export interface Round {
  readonly perSecond: number;
  /** CPU of the server process for one call, system time included. */
  readonly cpuUs: number;
}

export async function round({ child, port }: Running, calls: number): Promise<Round> {
  const bodies = Array.from({ length: calls }, () => signedRequest());
  const before = await cpuOf(child);
  const { perSecond, notOk } = await load(callsTo(port), bodies, CONNECTIONS);
  if (notOk > 0) throw new Error(`${notOk} of ${calls} calls were not answered with ok`);
  return { perSecond, cpuUs: ((await cpuOf(child)) - before) / calls };
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [message] = (await once(child, 'message')) as [{ cpu: NodeJS.CpuUsage }];
  return message.cpu.user + message.cpu.system;
}
