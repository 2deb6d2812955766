import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import type { AuditRecords } from '../../src/store/audit-records.ts';
import type { RecordStore } from '../../src/store/record-store.ts';

/** Lines that look like nothing the store could know, some of them outside ASCII. */
const line = (n: number): string => `{"n":${n},"text":"ü€😀"}\n`;
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, n) => line(from + n)).join('');

async function allOf({ read }: AuditRecords, chain: string, fromSeq?: number): Promise<string> {
  let text = '';
  for await (const piece of read(chain, fromSeq)) {
    expect(piece.endsWith('\n')).toBe(true);
    text += piece;
  }
  return text;
}

/** What every store does with the lines of the audit. `open` gives an empty store that is closed when the test ends. */
export function describeAuditRecords(name: string, open: () => Promise<RecordStore>): void {
  describe(`${name}: audit`, () => {
    test('a store without chains has none, and an unknown chain has no lines', async () => {
      const { audit } = await open();
      expect(await audit.chains()).toEqual([]);
      expect(await audit.first('a')).toBeNull();
      expect(await audit.last('a')).toBeNull();
      expect(await allOf(audit, 'a')).toBe('');
      expect(await allOf(audit, 'a', 7)).toBe('');
    });

    test('lines are read as they were appended, whole and from any one on', async () => {
      const { audit } = await open();
      await audit.append('a', 0, lines(0, 3));
      await audit.append('a', 3, lines(3, 4));
      await audit.append('a', 4, lines(4, 9));
      expect(await allOf(audit, 'a')).toBe(lines(0, 9));
      for (let from = 0; from <= 10; from++) expect(await allOf(audit, 'a', from)).toBe(lines(from, 9));
      expect(`${await audit.first('a')}\n`).toBe(line(0));
      expect(`${await audit.last('a')}\n`).toBe(line(8));
    });

    test('who follows a chain reads on where the last read ended', async () => {
      const { audit } = await open();
      await audit.append('a', 0, lines(0, 3));
      expect(await allOf(audit, 'a', 0)).toBe(lines(0, 3));
      expect(await allOf(audit, 'a', 3)).toBe('');
      await audit.append('a', 3, lines(3, 5));
      expect(await allOf(audit, 'a', 3)).toBe(lines(3, 5));
      await audit.append('a', 5, lines(5, 8));
      expect(await allOf(audit, 'a', 5)).toBe(lines(5, 8));
      expect(await allOf(audit, 'a', 4)).toBe(lines(4, 8));
    });

    test('chains stand in the order of their ids, each with its own lines', async () => {
      const { audit } = await open();
      const ids = ['20260101T000000.000Z-b', '20260101T000000.001Z-a', '20260101T000000.000Z-a'];
      for (const [n, id] of ids.entries()) await audit.append(id, 0, line(n));
      await audit.append(ids[0] ?? '', 1, line(10));
      expect(await audit.chains()).toEqual(ids.toSorted());
      for (const newest of [1, 2, 3, 4])
        expect(await audit.chains(newest)).toEqual(ids.toSorted().slice(-newest));
      expect(await allOf(audit, ids[0] ?? '')).toBe(line(0) + line(10));
      expect(await allOf(audit, ids[1] ?? '')).toBe(line(1));
    });

    test('more lines than one page or piece holds are all read, and so is a long one', async () => {
      const { audit } = await open();
      const long = `{"text":"${'ü'.repeat(30_000)}"}\n`;
      let text = '';
      let seq = 0;
      for (let row = 0; row < 60; row++) {
        const part = lines(seq, seq + 200) + long;
        await audit.append('a', seq, part);
        seq += 201;
        text += part;
      }
      for (let row = 0; row < 600; row++) {
        await audit.append('a', seq, line(seq));
        text += line(seq);
        seq++;
      }
      expect(await allOf(audit, 'a')).toBe(text);
      expect(await allOf(audit, 'a', seq - 1)).toBe(line(seq - 1));
      await audit.append('a', seq, long);
      expect(`${await audit.last('a')}\n`).toBe(long);
      await audit.append('b', 0, long);
      expect(`${await audit.first('b')}\n`).toBe(long);
    });

    test('what has been appended is never appended again, nor is a chain begun again', async () => {
      const { audit } = await open();
      await audit.append('a', 0, lines(0, 2));
      await audit.append('a', 2, line(2));
      await expect(audit.append('a', 2, line(7))).rejects.toThrow(StoreError);
      await expect(audit.append('a', 0, line(7))).rejects.toThrow(StoreError);
      expect(await allOf(audit, 'a')).toBe(lines(0, 3));
      await audit.append('a', 3, line(3));
      expect(await allOf(audit, 'a')).toBe(lines(0, 4));
    });
  });
}
