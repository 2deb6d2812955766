import { describe, expect, onTestFinished, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { createPipeline, type HandleContext } from '../../src/server/handle.ts';
import type { ClientRecord } from '../../src/store/index.ts';
import { ALGORITHMS, type KeyTexts } from '../../src/wire/algorithms.ts';
import type { AlgorithmName } from '../../src/wire/envelope.ts';
import { type KeyRing, openKeyRing } from '../../src/server/clients/key-ring.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import type { Credential } from '../../src/transports/index.ts';
import { openStore } from '../store/open.ts';
import { clientRecord, TEST_SEALER } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { createTestLog } from '../support/log.ts';
import { request } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';

/** Of each kind in one comparison. */
const SAMPLES = 300;
/** Two kinds whose medians lie closer are equal in time; a MAC left out is a third of what the sample takes. */
const MAX_DIFFERENCE = 0.08;
/** A real difference is there each time; that of a busy machine is not, but it may last. */
const COMPARISONS = 10;

const ed25519 = (): KeyTexts => ALGORITHMS.ed25519.generate().server;

/** Clients of each algorithm: with a single generation of keys, and in the middle of a rotation. */
async function openRing(): Promise<KeyRing> {
  const store = openStore({ dir: tempFolder(), serverId: 'srv-1' });
  onTestFinished(() => store.close());
  const response = 'a response key';
  const clients: readonly Pick<ClientRecord, 'id' | 'algorithm' | 'keys'>[] = [
    { id: 'settled', algorithm: 'hmac-sha256', keys: [{ request: 'a settled key', response }] },
    {
      id: 'rotating',
      algorithm: 'hmac-sha256',
      keys: [
        { request: 'the new key', response },
        { request: 'the old key', response },
      ],
    },
    { id: 'partner', algorithm: 'ed25519', keys: [ed25519()] },
    { id: 'rotating-partner', algorithm: 'ed25519', keys: [ed25519(), ed25519()] },
  ];
  for (const client of clients) await store.clients.add(clientRecord(client.id, client));
  const ring = await openKeyRing(store, TEST_SEALER, createTestLog());
  onTestFinished(() => ring.stop());
  return ring;
}

/** As long as makes the MAC weigh most beside what else is done with a message; longer ones are worked on in turns. */
const ARGS = { text: 'x'.repeat(65_000) };

/** What a forger may claim to have signed with. */
const FORMS: Readonly<Record<AlgorithmName, string>> = {
  'hmac-sha256': 'a'.repeat(64),
  ed25519: `ed25519:${'a'.repeat(85)}A`,
};

function forged(id: string, form: AlgorithmName = 'hmac-sha256'): Buffer {
  const credential: Credential = {
    ...{ v: 'mcp/0.1', url: 'http://localhost/', server_id: 'srv-1', client_id: id },
    ...{ request_key: 'nobody has this', response_key: '' },
  };
  return request(credential, 'echo', ARGS, {
    ...{ request_id: 'the-same', ts_ms: START_MS, signature: FORMS[form] },
  });
}

/** A server up to the MAC; all that comes after it is not reached. */
function refuserWith(keyRing: KeyRing): (bytes: Uint8Array) => void {
  const log = createTestLog();
  const reached = { keyRing, messageLimits: MESSAGE_LIMITS, flights: { open: 0 }, log };
  const context = { ...reached, policy: null, serverId: 'srv-1', now: () => START_MS };
  // As above: the rest of it would be there in vain.
  const { handle } = createPipeline(context as unknown as HandleContext);
  // A refusal for the MAC waits for nothing: it is made when the call returns.
  return (bytes) => void handle(bytes);
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** How far apart the medians are, as a part of the larger. Samples alternate, so that both see the same machine. */
function difference(a: () => void, b: () => void): number {
  const times: readonly [number[], number[]] = [[], []];
  for (let i = 0; i < 2 * SAMPLES; i++) {
    // Either is first in every second pair.
    const which = ((i + (i >> 1)) % 2) as 0 | 1;
    const start = process.hrtime.bigint();
    (which === 0 ? a : b)();
    times[which].push(Number(process.hrtime.bigint() - start));
  }
  const [first, second] = [median(times[0]), median(times[1])];
  return Math.abs(first - second) / Math.max(first, second);
}

/** The least of several comparisons: only what is always there counts. */
function leastDifference(a: () => void, b: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < COMPARISONS && least > MAX_DIFFERENCE; i++) least = Math.min(least, difference(a, b));
  return least;
}

describe('§3 the time of a refusal does not tell whether there is such a client', () => {
  test.each(
    (
      [
        ['a client with one key', 'settled'],
        ['a client in the middle of a rotation', 'rotating'],
        ['a client of Ed25519', 'partner'],
        ['a client of Ed25519 in the middle of a rotation', 'rotating-partner'],
      ] as const
    ).flatMap(([what, id]) => [[what, 'hmac-sha256', id] as const, [what, 'ed25519', id] as const]),
  )(
    'an unknown client takes as long as %s, to somebody who sends a signature of %s',
    async (_what, form, id) => {
      const refuse = refuserWith(await openRing());
      const [known, unknown] = [forged(id, form), forged('x'.repeat(id.length), form)];
      expect(
        leastDifference(
          () => refuse(known),
          () => refuse(unknown),
        ),
      ).toBeLessThan(MAX_DIFFERENCE);
    },
  );

  const planted: readonly (readonly [string, (ring: KeyRing) => KeyRing['find']])[] = [
    [
      'turns an unknown client away at once',
      (ring) => (id) => {
        const client = ring.find(id);
        if (client === null) throw new ProtocolError('bad_signature', 'unknown client or wrong signature');
        return client;
      },
    ],
    [
      'computes one MAC more for a client that it knows',
      (ring) => (id) => {
        const client = ring.find(id);
        const key = ALGORITHMS['hmac-sha256'].decoy;
        return client === null ? null : { ...client, requestKeys: [key, key, key] };
      },
    ],
  ];

  test.each(planted)('a server that %s would be caught', async (_what, find) => {
    const ring = await openRing();
    const refuse = refuserWith({ ...ring, find: find(ring) });
    const [known, unknown] = [forged('settled'), forged('xettled')];
    expect(
      leastDifference(
        () => refuse(known),
        () => refuse(unknown),
      ),
    ).toBeGreaterThan(MAX_DIFFERENCE);
  });
});
