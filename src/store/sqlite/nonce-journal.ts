import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { NonceKey } from './nonce-table.ts';

/**
 * The file behind one generation of nonces: a header, then 16 bytes a nonce, appended once per
 * event-loop turn. A write that has returned survives kill -9; it costs 1 µs where a transaction of
 * SQLite costs 10 µs without and 130 µs with fsync (measured). What a power cut may take is handled
 * by the guard (nonces.ts), not here.
 */
export interface NonceJournal {
  append(key: NonceKey): void;
  /** Writes what was appended. @throws when the disk refuses; the file is then as it was before */
  flush(): void;
  /** Makes the file survive a power cut too, and closes it. */
  close(): void;
  /** Closes and deletes it. */
  remove(): void;
}

const HEADER = Buffer.from('waybill nonces 1');
const RECORD_BYTES = 16;
const NAME = /^nonces-(\d+)\.log$/;

/** Starting times of the generations that have a file here, oldest first. */
export function listJournals(dir: string): number[] {
  return readdirSync(dir)
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/**
 * Opens the file of one generation, creating it if need be, and hands every nonce in it to `onKey`.
 *
 * @throws when the file cannot be opened or is not a journal of this format
 */
export function openJournal(dir: string, startMs: number, onKey: (key: NonceKey) => void): NonceJournal {
  const path = join(dir, `nonces-${startMs}.log`);
  const file = openSync(path, 'a+', 0o600);
  let length = restore(readFileSync(path), onKey);
  if (length === 0) {
    writeSync(file, HEADER);
    length = HEADER.length;
  } else {
    // A record that was cut short belongs to a request that was never answered.
    ftruncateSync(file, length);
  }
  let pending = Buffer.alloc(64 * RECORD_BYTES);
  let used = 0;

  return {
    append(key) {
      if (used === pending.length) pending = Buffer.concat([pending], pending.length * 2);
      for (const word of key) used = pending.writeUInt32LE(word, used);
    },
    flush() {
      const end = used;
      used = 0;
      try {
        for (let at = 0; at < end; ) at += writeSync(file, pending, at, end - at);
        length += end;
      } catch (error) {
        ftruncateSync(file, length);
        throw error;
      }
    },
    close() {
      fsyncSync(file);
      closeSync(file);
    },
    remove() {
      closeSync(file);
      unlinkSync(path);
    },
  };
}

/** Returns the length of the part that is whole: 0 for a file without header. */
function restore(bytes: Buffer, onKey: (key: NonceKey) => void): number {
  if (bytes.length < HEADER.length) return 0;
  if (!bytes.subarray(0, HEADER.length).equals(HEADER)) throw new Error('not a nonce journal');
  const end = bytes.length - ((bytes.length - HEADER.length) % RECORD_BYTES);
  for (let at = HEADER.length; at < end; at += RECORD_BYTES) {
    onKey([
      bytes.readUInt32LE(at),
      bytes.readUInt32LE(at + 4),
      bytes.readUInt32LE(at + 8),
      bytes.readUInt32LE(at + 12),
    ]);
  }
  return end;
}
