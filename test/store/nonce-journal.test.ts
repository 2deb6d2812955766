import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../src/errors/index.ts';
import { listJournals, type NonceJournal, openJournal } from '../../src/store/sqlite/nonce-journal.ts';
import type { NonceKey } from '../../src/store/sqlite/nonce-table.ts';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { tempFolder } from '../support/temp.ts';

const HEADER_BYTES = 16;
const RECORD_BYTES = 16;
const key = (n: number): NonceKey => [n, n + 1, n + 2, 0xffff_ffff];

/** Opens the journal, and closes it after `use`; gives what was in it. */
function withJournal(dir: string, use: (journal: NonceJournal) => void = () => {}): NonceKey[] {
  const found: NonceKey[] = [];
  const journal = openJournal(dir, 1, (restored) => found.push(restored));
  use(journal);
  journal.close();
  return found;
}

function write(journal: NonceJournal, ...numbers: number[]): void {
  for (const n of numbers) journal.append(key(n));
  journal.flush();
}

describe('the nonce journal', () => {
  test('gives back what was flushed, in order, over any number of opens', () => {
    const dir = tempFolder();
    expect(withJournal(dir, (journal) => write(journal, 1, 2))).toEqual([]);
    expect(withJournal(dir, (journal) => write(journal, 3))).toEqual([key(1), key(2)]);
    expect(withJournal(dir)).toEqual([key(1), key(2), key(3)]);
  });

  test('takes any number of nonces in one turn', () => {
    const dir = tempFolder();
    const numbers = Array.from({ length: 10_000 }, (_, n) => n + 1);
    withJournal(dir, (journal) => write(journal, ...numbers));
    expect(withJournal(dir)).toEqual(numbers.map(key));
  });

  test('what was not flushed is not there', () => {
    const dir = tempFolder();
    withJournal(dir, (journal) => {
      write(journal, 1);
      journal.append(key(2));
    });
    expect(withJournal(dir)).toEqual([key(1)]);
  });

  test('cut off anywhere it gives back the whole records, and goes on well', () => {
    fc.assert(
      fc.property(fc.nat(HEADER_BYTES + 3 * RECORD_BYTES), (length) => {
        const dir = tempFolder();
        withJournal(dir, (journal) => write(journal, 1, 2, 3));
        truncateSync(join(dir, 'nonces-1.log'), length);
        const whole = [1, 2, 3].slice(0, Math.max(0, Math.floor((length - HEADER_BYTES) / RECORD_BYTES)));
        expect(withJournal(dir, (journal) => write(journal, 4))).toEqual(whole.map(key));
        expect(withJournal(dir)).toEqual([...whole, 4].map(key));
      }),
    );
  });

  test('zeros that a power cut left are no nonces', () => {
    const dir = tempFolder();
    const path = join(dir, 'nonces-1.log');
    writeFileSync(path, Buffer.alloc(100));
    expect(withJournal(dir, (journal) => write(journal, 1))).toEqual([]);
    writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(40)]));
    expect(withJournal(dir, (journal) => write(journal, 2))).toEqual([key(1)]);
    expect(withJournal(dir)).toEqual([key(1), key(2)]);
  });

  test('a file of another format is refused and left as it is', () => {
    const dir = tempFolder();
    const path = join(dir, 'nonces-1.log');
    writeFileSync(path, 'waybill nonces 2 and what it holds');
    expect(() => withJournal(dir)).toThrow(SetupError);
    expect(readFileSync(path, 'utf8')).toBe('waybill nonces 2 and what it holds');
  });

  test('is for its owner only, and gone when it is removed', () => {
    const dir = tempFolder();
    const journal = openJournal(dir, 1, () => {});
    expect(statSync(join(dir, 'nonces-1.log')).mode & 0o777).toBe(0o600);
    journal.remove();
    expect(readdirSync(dir)).toEqual([]);
  });

  test('journals are listed oldest first, and nothing else is', () => {
    const dir = tempFolder();
    for (const startMs of [1_000, 900, 20]) openJournal(dir, startMs, () => {}).close();
    for (const name of ['nonces-.log', 'nonces-7.log.old', 'xnonces-7.log', 'waybill.db'])
      writeFileSync(join(dir, name), '');
    expect(listJournals(dir)).toEqual([20, 900, 1_000]);
  });
});

describe.skipIf(!canLimitFiles)('a nonce journal on a full disk', () => {
  test('says so, forgets what it could not write, and the next write is good', () => {
    for (let extra = 0; extra <= 2 * RECORD_BYTES; extra += 5) {
      const dir = tempFolder();
      const journal = openJournal(dir, 1, () => {});
      write(journal, 1);
      const allow = limitFiles(HEADER_BYTES + RECORD_BYTES + extra);
      expect(() => write(journal, 2, 3, 4)).toThrow('EFBIG');
      expect(() => write(journal, 5, 6, 7)).toThrow('EFBIG');
      allow();
      write(journal, 8);
      journal.close();
      expect(withJournal(dir)).toEqual([key(1), key(8)]);
    }
  });

  test('a crash right after the failure leaves a journal that opens', () => {
    const dir = tempFolder();
    const journal = openJournal(dir, 1, () => {});
    write(journal, 1);
    const allow = limitFiles(HEADER_BYTES + RECORD_BYTES + 5);
    expect(() => write(journal, 2)).toThrow('EFBIG');
    allow();
    expect(withJournal(dir, (next) => write(next, 3))).toEqual([key(1)]);
    expect(withJournal(dir)).toEqual([key(1), key(3)]);
  });

  test.each([0, 7])('a new one that cannot be begun leaves no file behind (%i bytes fit)', (bytes) => {
    const dir = tempFolder();
    const allow = limitFiles(bytes);
    expect(() => openJournal(dir, 1, () => {})).toThrow('EFBIG');
    allow();
    expect(readdirSync(dir)).toEqual([]);
  });
});
