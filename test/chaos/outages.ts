import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../support/services/index.ts';
import type { Journal } from './journal.ts';

/** The database or Redis, and whether it is there now. */
export interface Target {
  readonly name: string;
  readonly isUp: boolean;
  /** SIGKILL to all of its processes; after a while it is started again. */
  kill(downMs: number): Promise<void>;
  /** SIGSTOP, and SIGCONT after a while. */
  freeze(ms: number): Promise<void>;
}

export interface Outages {
  readonly targets: readonly Target[];
  /** For how long all of them have been there. */
  calmForMs(): number;
}

export function watchOutages(services: ReadonlyMap<string, Service>, journal: Journal): Outages {
  let calmSinceMs = 0;

  function createTarget(name: string, service: Service): Target {
    let isUp = true;
    const during = async (what: string, begin: () => Promise<void>, ms: number, end: () => Promise<void>) => {
      isUp = false;
      journal.note(`${name}: ${what}`);
      await begin();
      await sleep(ms);
      await end();
      journal.note(`${name}: is back`);
      isUp = true;
      calmSinceMs = journal.now();
    };
    return {
      name,
      get isUp() {
        return isUp;
      },
      kill: (downMs) =>
        during(
          'killed',
          () => service.kill(),
          downMs,
          () => service.restart(),
        ),
      freeze: (ms) =>
        during(
          `frozen for ${ms} ms`,
          () => service.kill('SIGSTOP'),
          ms,
          () => service.kill('SIGCONT'),
        ),
    };
  }

  const targets = [...services].map(([name, service]) => createTarget(name, service));
  return {
    targets,
    calmForMs: () => (targets.every(({ isUp }) => isUp) ? journal.now() - calmSinceMs : 0),
  };
}
