import {
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  unlinkSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAll } from '../../disk.ts';
import { StoreError, systemCodeOf } from '../../errors/index.ts';
import type { AuditRecords } from '../audit-records.ts';

/** Power cuts are rarer than crashes of a process: what a turn wrote reaches the disk itself within this time. */
const SYNC_MS = 1_000;
/** Read at a time: hundreds of lines. */
const PIECE_BYTES = 262_144;
/** The same for one line. */
const EDGE_BYTES = 4_096;
const LINE_FEED = 10;
const SUFFIX = '.jsonl';
/** Names become names of files. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

export interface AuditFiles extends AuditRecords {
  /** Makes what was appended survive a power cut too. */
  close(): void;
}

/** A chain that this process writes. */
interface Writer {
  /** `null` after an append that failed: a chain is seldom gone on with then. */
  file: number | null;
  /** Of the first line of the last append. */
  lastSeq: number;
  /** Of what was appended as a whole. */
  bytes: number;
  /** May the file be longer than that? */
  isTorn: boolean;
}

/**
 * One file a chain, one write for each append: what is written survives kill -9, and costs a hundredth of a
 * commit. The folder is made with the first line.
 */
export function createAuditFiles(dataDir: string): AuditFiles {
  const dir = join(dataDir, 'audit');
  const writers = new Map<string, Writer>();
  /** Where the last read of a chain ended, for whoever follows it. */
  const marks = new Map<string, Mark>();
  const sync = createSync(writers);

  function writerOf(chain: string, isNew: boolean): Writer {
    const known = writers.get(chain);
    if (known !== undefined) return known;
    if (!isNew) throw new StoreError(`chain ${chain} is not written by this process`);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // Fails where there is one: nobody goes on with the chain of another process.
    const file = openSync(pathOf(dir, chain), 'ax', 0o600);
    const writer: Writer = { file, lastSeq: -1, bytes: 0, isTorn: false };
    writers.set(chain, writer);
    return writer;
  }

  function append(chain: string, fromSeq: number, lines: string): void {
    const writer = writerOf(chain, fromSeq === 0);
    if (fromSeq <= writer.lastSeq) throw new StoreError(`chain ${chain} has a record ${fromSeq}`);
    const file = (writer.file ??= openSync(pathOf(dir, chain), constants.O_WRONLY | constants.O_APPEND));
    try {
      if (writer.isTorn) ftruncateSync(file, writer.bytes);
      writer.isTorn = true;
      writer.bytes += writeAll(file, Buffer.from(lines, 'utf8'));
      writer.isTorn = false;
      writer.lastSeq = fromSeq;
    } catch (error) {
      abandonPart(chain, writer, file);
      throw error;
    }
    sync.soon();
  }

  /** Nothing remains of an append that failed halfway, nor an open file; if even that fails, the next one tries again. */
  function abandonPart(chain: string, writer: Writer, file: number): void {
    writer.file = null;
    try {
      ftruncateSync(file, writer.bytes);
      writer.isTorn = false;
      if (writer.bytes === 0) {
        writers.delete(chain);
        unlinkSync(pathOf(dir, chain));
      }
    } catch {
      // The part has no line feed at its end, or is whole lines of which nobody was told: readers do with both.
    }
    letGo(file);
  }

  return {
    append: async (chain, fromSeq, lines) => inStoreTerms(() => append(chain, fromSeq, lines)),
    chains: async (newest) => inStoreTerms(() => listChains(dir).slice(newest === undefined ? 0 : -newest)),
    read: (chain, fromSeq = 0) => readChain(dir, chain, fromSeq, marks),
    first: (chain) => readEdge(dir, chain, firstIn),
    last: (chain) => readEdge(dir, chain, lastIn),
    close() {
      sync.stop();
      for (const { file } of writers.values()) {
        if (file === null) continue;
        fdatasyncSync(file);
        closeSync(file);
      }
      writers.clear();
    },
  };
}

/** fdatasync beside the event loop, at most once in `SYNC_MS`. */
function createSync(writers: ReadonlyMap<string, Writer>) {
  let timer: NodeJS.Timeout | null = null;
  function run(): void {
    timer = null;
    // What the disk refuses then is seen by the next write; to survive a power cut is not promised.
    for (const { file } of writers.values()) if (file !== null) fdatasync(file, () => {});
  }
  return {
    soon(): void {
      timer ??= setTimeout(run, SYNC_MS).unref();
    },
    stop(): void {
      if (timer !== null) clearTimeout(timer);
    },
  };
}

/** What was acknowledged before reaches the disk, if that works: nobody can be told any more. */
function letGo(file: number): void {
  try {
    fdatasyncSync(file);
  } catch {
    // To survive a power cut is not promised.
  } finally {
    closeSync(file);
  }
}

function pathOf(dir: string, chain: string): string {
  if (!NAME.test(chain)) throw new StoreError(`there is no chain ${JSON.stringify(chain)}`);
  return join(dir, chain + SUFFIX);
}

function listChains(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const names = readdirSync(dir).filter((name) => name.endsWith(SUFFIX));
  return names
    .map((name) => name.slice(0, -SUFFIX.length))
    .filter((chain) => NAME.test(chain))
    .sort();
}

/** A line that was not written whole, and with it nothing else, can stand behind the last line feed. */
async function* readChain(
  dir: string,
  chain: string,
  fromSeq: number,
  marks: Map<string, Mark>,
): AsyncGenerator<string> {
  const file = await openToRead(dir, chain);
  if (file === null) return;
  try {
    const mark = marks.get(chain);
    let at = mark?.seq === fromSeq ? mark.bytes : 0;
    let seq = at === 0 ? 0 : fromSeq;
    for (let size = PIECE_BYTES; ; ) {
      const piece = Buffer.allocUnsafe(size);
      const { bytesRead } = await inStore(file.read(piece, 0, size, at));
      const end = piece.subarray(0, bytesRead).lastIndexOf(LINE_FEED) + 1;
      if (end === 0) {
        if (bytesRead < size) break;
        size *= 2;
        continue;
      }
      const lines = piece.subarray(0, end);
      const count = countLines(lines);
      at += end;
      seq += count;
      const wanted = seq <= fromSeq ? 0 : Math.min(count, seq - fromSeq);
      if (wanted > 0) yield lines.toString('utf8', startOf(lines, count - wanted));
    }
    if (seq > fromSeq) marks.set(chain, { seq, bytes: at });
  } finally {
    await file.close();
  }
}

/** A line of which all before are `bytes` long. */
interface Mark {
  readonly seq: number;
  readonly bytes: number;
}

function countLines(lines: Buffer): number {
  let count = 0;
  for (let at = lines.indexOf(LINE_FEED); at !== -1; at = lines.indexOf(LINE_FEED, at + 1)) count++;
  return count;
}

/** Where the line after so many begins. */
function startOf(lines: Buffer, count: number): number {
  let at = 0;
  for (let n = 0; n < count; n++) at = lines.indexOf(LINE_FEED, at) + 1;
  return at;
}

/** Finds a line in as much of the beginning or the end of a file as it needs. */
async function readEdge(dir: string, chain: string, lineIn: typeof firstIn): Promise<string | null> {
  const file = await openToRead(dir, chain);
  if (file === null) return null;
  try {
    const { size: fileBytes } = await inStore(file.stat());
    // Another chain may link to the last line: after a power cut it must be there, also if its process was killed
    // before it could see to that. Where a file that is read cannot be synced, that is left to the system.
    if (lineIn === lastIn) await file.datasync().catch(() => {});
    for (let bytes = Math.min(EDGE_BYTES, fileBytes); ; bytes = Math.min(bytes * 2, fileBytes)) {
      const edge = Buffer.alloc(bytes);
      await inStore(file.read(edge, 0, bytes, lineIn === firstIn ? 0 : fileBytes - bytes));
      const line = lineIn(edge, bytes === fileBytes);
      if (line !== null || bytes === fileBytes) return line;
    }
  } finally {
    await file.close();
  }
}

/** `null`: its end is not in these bytes. */
function firstIn(bytes: Buffer, _isAll: boolean): string | null {
  const end = bytes.indexOf(LINE_FEED);
  return end === -1 ? null : bytes.toString('utf8', 0, end);
}

/** `null`: it is not in these bytes as a whole. */
function lastIn(bytes: Buffer, isAll: boolean): string | null {
  const end = bytes.lastIndexOf(LINE_FEED);
  if (end === -1) return null;
  const begin = bytes.subarray(0, end).lastIndexOf(LINE_FEED);
  return begin === -1 && !isAll ? null : bytes.toString('utf8', begin + 1, end);
}

/** `null`: there is no such chain. */
async function openToRead(dir: string, chain: string): Promise<FileHandle | null> {
  try {
    return await open(pathOf(dir, chain), 'r');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw storeError(error);
  }
}

function inStore<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw storeError(error);
  });
}

function inStoreTerms<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storeError(error);
  }
}

function storeError(error: unknown): StoreError {
  return error instanceof StoreError ? error : new StoreError('the audit cannot be used', { cause: error });
}
