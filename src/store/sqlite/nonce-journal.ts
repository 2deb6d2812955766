import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { writeAll } from '../../disk.ts';
import { SetupError } from '../../errors/index.ts';
import type { NonceKey } from './nonce-table.ts';

/**
 * The file behind one generation of nonces: a header, then 16 bytes a nonce, appended once per
 * event-loop turn. A write that has returned survives kill -9; it costs 1 µs where a transaction of
 * SQLite costs 10 µs without and 130 µs with fsync (measured). What a power cut may take is handled
 * by the guard (nonces.ts), not here.
 */
export interface NonceJournal {
  append(key: NonceKey): void;
  /** Writes what was appended. @throws when the disk refuses; what was appended is then forgotten */
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
 * @throws SetupError when it is not a journal of this format; what the system throws when it cannot be written
 */
export function openJournal(dir: string, startMs: number, onKey: (key: NonceKey) => void): NonceJournal {
  const path = join(dir, `nonces-${startMs}.log`);
  const file = openSync(path, 'a+', 0o600);
  let length = 0;
  try {
    length = restore(path, onKey);
    // A record that was cut short belongs to a request that was never answered.
    ftruncateSync(file, length);
    if (length === 0) length = writeAll(file, HEADER, HEADER.length);
  } catch (error) {
    closeSync(file);
    if (length === 0 && !(error instanceof SetupError)) unlinkSync(path);
    throw error;
  }
  /** Did a write end halfway, so that the file is longer than what counts? */
  let torn = false;
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
      if (torn) ftruncateSync(file, length);
      torn = end > 0;
      length += writeAll(file, pending, end);
      torn = false;
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
function restore(path: string, onKey: (key: NonceKey) => void): number {
  const bytes = readFileSync(path);
  const header = bytes.subarray(0, HEADER.length);
  // A power cut can leave a file that is too short, or zeros where nothing reached the disk.
  if (header.length < HEADER.length || isZero(header)) return 0;
  if (!header.equals(HEADER)) {
    throw new SetupError(
      `${path} is no nonce journal of this waybill: use the one that wrote it, or another --data`,
    );
  }
  const end = bytes.length - ((bytes.length - HEADER.length) % RECORD_BYTES);
  for (let at = HEADER.length; at < end; at += RECORD_BYTES) {
    if (!isZero(bytes.subarray(at, at + RECORD_BYTES))) onKey(readKey(bytes, at));
  }
  return end;
}

function readKey(bytes: Buffer, at: number): NonceKey {
  return [
    bytes.readUInt32LE(at),
    bytes.readUInt32LE(at + 4),
    bytes.readUInt32LE(at + 8),
    bytes.readUInt32LE(at + 12),
  ];
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
