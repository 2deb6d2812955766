import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newChainId, openChain } from '../../src/audit/chain.ts';
import { NO_PREV } from '../../src/audit/record.ts';
import { holds } from '../../src/wire/ed25519.ts';
import { anySteps, CALL, doStep, KEYS, recordOf, SERVER_ID, START_MS } from './bundles.ts';

const open = (id?: string) =>
  openChain({
    ...(id === undefined ? {} : { id }),
    serverId: SERVER_ID,
    key: KEYS,
    links: [],
    now: () => START_MS,
  });

const recordsOf = (lines: string) => lines.split('\n').slice(0, -1).map(recordOf);

describe('a chain', () => {
  test('begins with `open`, and binds each record to the one before', () => {
    fc.assert(
      fc.property(anySteps, (steps) => {
        const chain = open();
        for (const step of steps) doStep(chain, step);
        const records = recordsOf(chain.take()?.lines ?? '');
        expect(records[0]).toMatchObject({
          type: 'open',
          prev: NO_PREV,
          members: { chain: chain.id, links: [] },
        });
        expect(records.map(({ seq }) => seq)).toEqual([...records.keys()]);
        expect(records.slice(1).map(({ prev }) => prev)).toEqual(
          records.slice(0, -1).map(({ hash }) => hash),
        );
        expect(records).toHaveLength(steps.length + 1);
      }),
    );
  });

  test('signs prev, seq, ms and type with each head, and with `close`', () => {
    const chain = open();
    chain.head();
    chain.add(CALL);
    chain.close();
    const [, head, , close] = recordsOf(chain.take()?.lines ?? '');
    for (const { prev, seq, ms, type, members } of [head, close].filter((each) => each !== undefined)) {
      const signed = JSON.stringify({ prev, seq, ms, type });
      expect(holds(signed, String(members['signature']), KEYS.publicKey)).toBe(true);
    }
    expect(close?.type).toBe('close');
  });

  test('gives what was added since it was last asked, once', () => {
    const chain = open('c');
    expect(chain.take()).toMatchObject({ fromSeq: 0 });
    expect(chain.take()).toBeNull();
    chain.add(CALL);
    chain.add(CALL);
    const batch = chain.take();
    expect(batch?.fromSeq).toBe(1);
    expect(recordsOf(batch?.lines ?? '').map(({ seq }) => seq)).toEqual([1, 2]);
  });

  test('counts the records that no signature covers', () => {
    const chain = open();
    chain.add(CALL);
    expect(chain.unsigned).toBe(2);
    chain.head();
    expect(chain.unsigned).toBe(0);
  });

  test('takes nothing after its end', () => {
    const chain = open('c');
    chain.close();
    expect(() => chain.add(CALL)).toThrow('chain c is closed');
    expect(() => chain.head()).toThrow('chain c is closed');
  });
});

describe('the id of a chain', () => {
  test('says when it was opened and is unlike any other', () => {
    expect(newChainId(START_MS)).toMatch(/^20261121T000000\.000Z-[0-9a-f]{8}$/);
    expect(newChainId(START_MS)).not.toBe(newChainId(START_MS));
  });

  test('stands in the order of time', () => {
    const times = fc.tuple(fc.nat(4e12), fc.nat(4e12)).filter(([a, b]) => a !== b);
    fc.assert(fc.property(times, ([a, b]) => newChainId(a) < newChainId(b) === a < b));
  });
});
