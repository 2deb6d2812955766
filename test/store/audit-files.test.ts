import { appendFileSync, readdirSync, readFileSync, readlinkSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { openClientStore } from '../../src/store/index.ts';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { tempFolder } from '../support/temp.ts';
import { openStore } from './open.ts';

const LINE = `{"text":"${'x'.repeat(100)}"}\n`;

async function allOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}

describe('SQLite: the files of the audit', () => {
  test('are made with the first line, for nobody else to read', async () => {
    const { audit, dir } = openStore();
    expect(readdirSync(dir)).not.toContain('audit');
    await audit.append('a', 0, LINE);
    expect(statSync(join(dir, 'audit')).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, 'audit/a.jsonl')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(dir, 'audit/a.jsonl'), 'utf8')).toBe(LINE);
  });

  test('nobody goes on with the chain of another process, or begins it again', async () => {
    const store = openStore();
    await store.audit.append('a', 0, LINE);
    await store.close();
    const { audit } = openStore({ dir: store.dir });
    await expect(audit.append('a', 0, LINE)).rejects.toThrow(StoreError);
    await expect(audit.append('a', 1, LINE)).rejects.toThrow(StoreError);
    expect(await allOf(audit.read('a'))).toBe(LINE);
  });

  test.each(['..', '../a', 'a/b', '', '.hidden', 'a\0'])('%j is no chain', async (chain) => {
    const { audit, dir } = openStore();
    await expect(audit.append(chain, 0, LINE)).rejects.toThrow(StoreError);
    await expect(allOf(audit.read(chain))).rejects.toThrow(StoreError);
    await expect(audit.last(chain)).rejects.toThrow(StoreError);
    expect(readdirSync(dir)).not.toContain('a.jsonl');
  });

  test('a program beside the server reads what was just appended', async () => {
    const { audit, dir } = openStore();
    const beside = openClientStore({ dir });
    await audit.append('a', 0, LINE);
    expect(await beside.audit.chains()).toEqual(['a']);
    expect(await allOf(beside.audit.read('a'))).toBe(LINE);
    await audit.append('a', 1, LINE);
    expect(await allOf(beside.audit.read('a', 1))).toBe(LINE);
    await beside.close();
  });

  test('a line that a dying process had begun is left out', async () => {
    const store = openStore();
    await store.audit.append('a', 0, LINE + LINE);
    await store.audit.append('b', 0, LINE);
    await store.close();
    appendFileSync(join(store.dir, 'audit/a.jsonl'), LINE.slice(0, 50));
    truncateSync(join(store.dir, 'audit/b.jsonl'), 20);
    const { audit } = openStore({ dir: store.dir });
    expect(await allOf(audit.read('a'))).toBe(LINE + LINE);
    expect(await audit.last('a')).toBe(LINE.trimEnd());
    expect(await audit.first('b')).toBeNull();
    expect(await audit.last('b')).toBeNull();
    expect(await allOf(audit.read('b'))).toBe('');
  });
});

/** Files of the audit that this process holds open. */
function openIn(dir: string): string[] {
  const paths = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(join('/proc/self/fd', fd));
    } catch {
      // That of the list itself.
      return '';
    }
  });
  return paths.filter((path) => path.startsWith(join(dir, 'audit')));
}

describe.skipIf(!canLimitFiles)('SQLite: the audit on a full disk', () => {
  test('an append that does not fit is refused, nothing of it remains, and the next goes on behind the last', async () => {
    const dir = tempFolder();
    const { audit } = openStore({ dir });
    const path = join(dir, 'audit/a.jsonl');
    await audit.append('a', 0, LINE);
    // One more line and a half fit.
    const allow = limitFiles(Math.floor(LINE.length * 2.5));
    for (let n = 0; n < 3; n++) {
      await expect(audit.append('a', 1, LINE + LINE)).rejects.toThrow(StoreError);
      expect(readFileSync(path, 'utf8')).toBe(LINE);
      expect(openIn(dir)).toEqual([]);
    }
    await audit.append('a', 1, LINE);
    await expect(audit.append('a', 2, LINE)).rejects.toThrow(StoreError);
    await expect(audit.append('b', 0, LINE + LINE + LINE)).rejects.toThrow(StoreError);
    expect(openIn(dir)).toEqual([]);
    expect(await audit.chains()).toEqual(['a']);
    allow();
    await audit.append('a', 2, LINE + LINE);
    await audit.append('b', 0, LINE);
    expect(await allOf(audit.read('a'))).toBe(LINE.repeat(4));
    expect(await allOf(audit.read('b'))).toBe(LINE);
  });
});
