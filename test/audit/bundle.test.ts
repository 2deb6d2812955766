import { describe, expect, test } from 'vitest';
import { writeBundle } from '../../src/audit/bundle.ts';
import { StoreError } from '../../src/errors/index.ts';
import { holds } from '../../src/wire/ed25519.ts';
import { bundleOf, CALL, KEYS, lastsOf, makeChains, SERVER_ID, sourceOf, START_MS } from './bundles.ts';

const CHAINS = makeChains([[CALL, 'close'], [CALL, 'head'], []]);

describe('a bundle', () => {
  test('has a first line, the lines of all chains as they are, in the order of their ids, and a last line', async () => {
    const bundle = await bundleOf(new Map([...CHAINS].toReversed()));
    const [start = '', ...rest] = bundle.trimEnd().split('\n');
    const end = rest.pop() ?? '';
    expect(JSON.parse(start)).toEqual({
      type: 'bundle',
      v: 1,
      server_id: SERVER_ID,
      key: KEYS.publicText,
      exported_ms: START_MS + 900_000,
    });
    expect(`${rest.join('\n')}\n`).toBe([...CHAINS.values()].join(''));
    const chains = lastsOf(CHAINS).map(({ chain, seq, hash }) => ({ chain, records: seq + 1, seq, hash }));
    expect(JSON.parse(end)).toMatchObject({ type: 'end', chains });
    expect(bundle.endsWith('}\n')).toBe(true);
  });

  test('is signed over the first line and the last without its signature', async () => {
    const lines = (await bundleOf(CHAINS)).trimEnd().split('\n');
    const { signature, ...end } = JSON.parse(lines.at(-1) ?? '');
    expect(holds(`${lines[0]}\n${JSON.stringify(end)}`, signature, KEYS.publicKey)).toBe(true);
  });

  test('leaves out a chain that has no record yet', async () => {
    expect(await bundleOf(new Map(CHAINS).set('empty', ''))).toBe(await bundleOf(CHAINS));
  });

  test('waits for each piece to be taken', async () => {
    let open = 0;
    const { chains, records } = await writeBundle({
      source: sourceOf(CHAINS),
      async write() {
        expect(++open).toBe(1);
        await new Promise(setImmediate);
        open--;
      },
      keys: KEYS,
      serverId: SERVER_ID,
      nowMs: START_MS,
    });
    expect({ chains, records }).toEqual({ chains: 3, records: 7 });
  });

  test('is not made of half records', async () => {
    const half = new Map([['c', 'x\n']]);
    const source = {
      ...sourceOf(half),
      read: () =>
        (async function* () {
          yield 'half';
        })(),
    };
    await expect(
      writeBundle({ source, write: () => {}, keys: KEYS, serverId: SERVER_ID, nowMs: START_MS }),
    ).rejects.toThrow(StoreError);
  });
});
