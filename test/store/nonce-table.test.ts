import { randomFillSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createNonceTable, type NonceKey } from '../../src/store/sqlite/nonce-table.ts';

/** Words that meet in one shard and in one slot, and words that do not. */
const word = fc.oneof(fc.constantFrom(0, 256, 512, 0x0100_0100), fc.nat(0xffff_ffff));
const anyKey: fc.Arbitrary<NonceKey> = fc
  .tuple(word, word, word, word)
  // Zero means a free slot: no SHA-256 is known to start with 128 zero bits.
  .filter((key) => key.some((part) => part !== 0));

const MAX_BYTES = 64;

function randomKeys(count: number): (index: number) => NonceKey {
  const words = randomFillSync(new Uint32Array(count * 4));
  const at = (index: number) => words[index] ?? 0;
  return (index) => [at(index * 4), at(index * 4 + 1), at(index * 4 + 2), at(index * 4 + 3)];
}

describe('the nonce table', () => {
  test('holds what a Set would hold', () => {
    const anyKeys = fc.array(anyKey, { maxLength: 400, size: 'max' });
    fc.assert(
      fc.property(anyKeys, fc.array(anyKey, { maxLength: 20 }), (keys, others) => {
        const table = createNonceTable();
        const set = new Set<string>();
        for (const key of keys) {
          expect(table.has(key)).toBe(set.has(key.join()));
          expect(table.add(key)).toBe(!set.has(key.join()));
          set.add(key.join());
          expect(table.size).toBe(set.size);
        }
        for (const key of [...keys, ...others]) expect(table.has(key)).toBe(set.has(key.join()));
      }),
    );
  });

  test('a key that differs in one bit is another key', () => {
    fc.assert(
      fc.property(anyKey, fc.nat(3), fc.nat(31), (key, part, bit) => {
        const table = createNonceTable();
        table.add(key);
        const other = key.with(part, ((key[part] ?? 0) ^ (1 << bit)) >>> 0) as unknown as NonceKey;
        expect(table.has(other)).toBe(false);
      }),
    );
  });

  test(`takes at most ${MAX_BYTES} bytes an entry at every size from 1 000 to 1 000 000, and loses none`, () => {
    const count = 1_000_000;
    const keyAt = randomKeys(count);
    const table = createNonceTable();
    let worst = 0;
    for (let i = 0; i < count; i++) {
      table.add(keyAt(i));
      if (i + 1 >= 1_000) worst = Math.max(worst, table.bytes / table.size);
    }
    expect(table.size).toBe(count);
    expect(worst).toBeLessThanOrEqual(MAX_BYTES);
    let lost = 0;
    for (let i = 0; i < count; i++) if (!table.has(keyAt(i))) lost++;
    expect(lost).toBe(0);
    const strangerAt = randomKeys(10_000);
    let invented = 0;
    for (let i = 0; i < 10_000; i++) if (table.has(strangerAt(i))) invented++;
    expect(invented).toBe(0);
  });
});
