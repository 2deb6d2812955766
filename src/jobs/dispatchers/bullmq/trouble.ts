import { SetupError, StoreError } from '../../../errors/index.ts';

/** What a driver says, in words that help. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host is not known',
  EAI_AGAIN: 'the host is not known',
  ETIMEDOUT: 'it does not answer',
  '28P01': 'the password is wrong',
  '28000': 'the role may not log in',
  '3D000': 'there is no such database',
  '42501': 'the role may not make or use the tables of BullMQ',
};

/** In one line. Nothing else of the error is kept: with what it carries, ioredis shows the password. */
export function reasonOf(error: unknown): string {
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const message = inner instanceof Error ? inner.message : String(inner);
  const known = REASONS[codeOf(inner)] ?? (/time(d )?out/i.test(message) ? REASONS['ETIMEDOUT'] : undefined);
  return known ?? (message.replace(/\s+/g, ' ').trim() || 'no reason given');
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Says BullMQ that the job is not ours any more, or not there? Its own codes are negative numbers. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && error.code < 0;
}

export function setupError(where: string, error: unknown): SetupError {
  return error instanceof SetupError ? error : new SetupError(`cannot use ${where}: ${reasonOf(error)}`);
}

export function storeError(error: unknown): StoreError {
  return error instanceof StoreError ? error : new StoreError(`the queue cannot be used: ${reasonOf(error)}`);
}

/** An outage says the same thing many times a second. */
const AGAIN_MS = 10_000;
const MAX_KINDS = 100;

/** Passes on each kind of error at most once in 10 s. */
export function throttled<T>(tell: (error: T) => void): (error: T) => void {
  const quietUntilMs = new Map<string, number>();
  return (error) => {
    // Numbers differ between errors of one kind: ports, ids, times.
    const kind = codeOf(error) || reasonOf(error).replace(/\w*\d\w*/g, '#');
    const nowMs = performance.now();
    if (nowMs < (quietUntilMs.get(kind) ?? 0)) return;
    if (quietUntilMs.size >= MAX_KINDS) quietUntilMs.clear();
    quietUntilMs.set(kind, nowMs + AGAIN_MS);
    tell(error);
  };
}

/** @throws StoreError when there is no answer in time, or whatever the answer is rejected with */
export async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new StoreError(`the queue did not answer in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when it is done, has failed, or has taken too long. */
export function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  return within(ms, work).then(
    () => {},
    () => {},
  );
}
