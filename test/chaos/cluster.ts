import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKeeper, type Place } from '../support/services/keeper.ts';
import type { Journal } from './journal.ts';
import { type Member, type Replica, Supervised } from './member.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TOOLS = fileURLToPath(new URL('tools.mjs', import.meta.url));

export interface Cluster {
  readonly replicas: readonly Replica[];
  readonly workers: readonly Member[];
  /** The newest lines of a member's log, or those with a text in them. */
  log(name: string, text?: string): readonly string[];
  /** Ends them all, and removes the folder. */
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly place: Place;
  readonly env: Readonly<Record<string, string>>;
  readonly replicas: number;
  readonly workers: number;
  /** Jobs at once in each. */
  readonly concurrency: number;
  readonly journal: Journal;
  /** For how long no service has been down or frozen. */
  readonly calmForMs: () => number;
}

const LOG_LINES = 15;

/** Every second replica leaves the jobs to others. @returns when all of them are ready */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { place, replicas, workers, concurrency } = options;
  const { folder } = place;
  const keeper = createKeeper(folder, 'SIGKILL');
  const all: Supervised[] = [];
  const hold = () => keeper.hold(all.flatMap(({ pid }) => pid ?? []));
  const logOf = (name: string) => join(folder, `${name}.log`);
  const env = { ...ownEnv(), ...options.env, EFFECTS_FILE: join(folder, 'effects.txt') };

  function start(name: string, args: readonly string[], works: boolean): Supervised {
    const run = () =>
      spawn(process.execPath, [MAIN, ...args, '--json'], {
        cwd: folder,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    const member = new Supervised({ ...options, name, works, run, hold, logFile: logOf(name) });
    all.push(member);
    return member;
  }

  const each = <T>(count: number, make: (n: number) => T): T[] =>
    Array.from({ length: count }, (_, n) => make(n));
  const atOnce = ['--concurrency', String(concurrency)];
  const serving = each(replicas, (n) => {
    const works = n % 2 === 1;
    const how = works ? atOnce : ['--no-worker'];
    return start(`replica-${n + 1}`, ['serve', TOOLS, '--port', '0', ...how], works);
  });
  const working = each(workers, (n) => start(`worker-${n + 1}`, ['worker', TOOLS, ...atOnce], true));

  hold();
  const stop = async () => {
    await Promise.all(all.map((member) => member.stop()));
    await keeper.end();
  };
  try {
    await Promise.all(all.map(({ ready }) => ready));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    replicas: serving,
    workers: [...working, ...serving.filter(({ works }) => works)],
    log(name, text = '') {
      const lines = existsSync(logOf(name)) ? readFileSync(logOf(name), 'utf8').split('\n') : [];
      return lines.filter((line) => line !== '' && line.includes(text)).slice(-LOG_LINES);
    },
    stop,
  };
}

/** Not the settings of whoever runs this. */
function ownEnv(): Record<string, string> {
  const inherited = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || name.startsWith('WAYBILL_') ? [] : [[name, value] as const],
  );
  return Object.fromEntries(inherited);
}
