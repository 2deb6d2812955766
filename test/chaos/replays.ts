import type { Random } from '../support/random.ts';
import { TIME_WINDOW } from '../../src/limits.ts';
import type { Client } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { Replica } from './member.ts';
import type { Journal } from './journal.ts';

/** A request that has got a signed answer: sent again, it must not get anything. */
export interface Captured {
  readonly client: Client;
  readonly bytes: Buffer;
  /** Which accepted it. */
  readonly replica: Replica;
  /** Epoch milliseconds, as in the request. */
  readonly sentMs: number;
}

/** Clocks and slow replies: near the end of the time window either refusal is right. */
const EDGE_MS = 15_000;
const CALM_TRIES = 5;

/**
 * Sends a captured request again, byte for byte, to another replica than the one that accepted it.
 *
 * @param calm nothing is down: `busy` or no reply will not do
 */
export async function replay(
  { client, bytes, replica, sentMs }: Captured,
  { cluster, journal }: { readonly cluster: Cluster; readonly journal: Journal },
  random: Random,
  calm: boolean,
): Promise<void> {
  const others = cluster.replicas.filter((each) => each !== replica && each.isServing);
  const to = random.pick(others);
  if (to === undefined) return;
  let answer = await client.send(to, bytes);
  // On a busy machine a reply may be late, but not every time.
  for (let tries = 1; answer === null && calm && tries < CALM_TRIES; tries++) {
    answer = await client.send(to, bytes);
  }
  const what = answer === null ? 'no reply' : (answer.code ?? answer.message.status);
  journal.count(`replays: ${what}`);
  const ageMs = Date.now() - sentMs;
  const right = [
    ...(ageMs < TIME_WINDOW.maxPastMs + EDGE_MS ? ['replayed'] : []),
    ...(ageMs > TIME_WINDOW.maxPastMs - EDGE_MS ? ['stale'] : []),
    ...(calm ? [] : ['busy', 'no reply']),
  ];
  if (right.includes(what) && (what === 'busy' || (answer?.message.result ?? null) === null)) return;
  journal.violate(
    `a request that ${replica.name} accepted was sent again to ${to.name}: ${JSON.stringify(answer?.message)}\n` +
      `    the request: ${String(bytes)}`,
  );
}
