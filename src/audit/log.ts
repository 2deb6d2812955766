import { SetupError, StoreError } from '../errors/index.ts';
import { AUDIT_LIMITS } from './limits.ts';
import type { CallRecord, EventRecord, JobStateRecord } from './record.ts';
import { createRefusals } from './refusals.ts';
import { createWriter, type WriterOptions } from './writer.ts';

/** The audit of one process. */
export interface AuditLog {
  /** The public key of its heads, `wbp_…`. */
  readonly key: string;
  /** Could the last records not be written, and has nothing been since? Then `flushed` tries again. */
  readonly isDown: boolean;
  /**
   * Resolves when the record will survive kill -9. That of a job says what has happened already: if it cannot be
   * written now, it is kept until it can be.
   *
   * @throws StoreError when it is not written, or only perhaps: what it says of a call must not be answered
   */
  add(record: CallRecord | JobStateRecord): Promise<void>;
  /**
   * May one more refusal of this client have a record? If not, it is counted, and the count is written when the
   * minute is over.
   */
  admitsRefusal(client: string): boolean;
  /** Resolves when everything is written. @throws StoreError */
  flushed(): Promise<void>;
  /** Writes what is left and ends the chain in order. @throws StoreError */
  close(): Promise<void>;
}

/** Records that are written together, and those who wait for them. */
interface Group {
  readonly records: EventRecord[];
  isWanted: boolean;
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens a chain for this process. What is recorded in one turn of the event loop, and while the write before is
 * under way, is written at once.
 *
 * @throws SetupError when nothing can be written
 */
export async function openAudit(options: WriterOptions): Promise<AuditLog> {
  const writer = createWriter(options);
  let group = newGroup();
  let isBusy = false;
  let hasWritten = false;
  let isClosed = false;

  /**
   * The first time in a turn of the event loop when all is done that does not wait for anything, as for calls that
   * were let in together; from then on at its end. Another turn for each call costs 2 µs.
   */
  function schedule(): void {
    if (isBusy) return;
    isBusy = true;
    if (hasWritten) {
      setImmediate(begin);
      return;
    }
    hasWritten = true;
    setImmediate(endTurn);
    process.nextTick(begin);
  }

  function endTurn(): void {
    hasWritten = false;
  }

  function begin(): void {
    void run();
  }

  async function run(): Promise<void> {
    const taken = group;
    group = newGroup();
    try {
      await writer.write(taken.records);
      taken.resolve();
    } catch (error) {
      taken.reject(error);
    }
    isBusy = false;
    if (group.isWanted) schedule();
  }

  function want(): Promise<void> {
    group.isWanted = true;
    schedule();
    return group.written;
  }

  function add(record: CallRecord | JobStateRecord): Promise<void> {
    if (isClosed) return Promise.reject(new StoreError('the audit is closed'));
    group.records.push(record);
    return want();
  }

  function put(records: readonly EventRecord[]): Promise<void> {
    group.records.push(...records);
    return want();
  }

  const refusals = createRefusals({ now: options.now, canWrite: () => !writer.isDown, write: put });
  await writer.write([]).catch(refuseStart);
  // Twice as often as a head is due, so that none is late by a whole interval.
  const timer = setInterval(() => writer.isDue && schedule(), AUDIT_LIMITS.headMs / 2).unref();

  return {
    key: options.keys.publicText,
    get isDown() {
      return writer.isDown;
    },
    add,
    // After the end `add` refuses it.
    admitsRefusal: (client) => isClosed || refusals.admits(client),
    flushed: () => (isClosed ? Promise.reject(new StoreError('the audit is closed')) : want()),
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(timer);
      // If it fails, the end of the chain tries once more.
      await put(refusals.end()).catch(() => {});
      await writer.close();
    },
  };
}

function refuseStart(error: unknown): never {
  throw new SetupError(`the audit cannot be written: ${rootOf(error)}`, { cause: error });
}

function newGroup(): Group {
  let resolve = (): void => {};
  let reject = (_error: unknown): void => {};
  const written = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Nobody may wait for it; those who do see the rejection.
  written.catch(() => {});
  return { records: [], isWanted: false, written, resolve, reject };
}

/** What was wrong at first, in its own words. */
function rootOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : rootOf(error.cause);
}
