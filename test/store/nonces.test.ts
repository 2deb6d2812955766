import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TIME_WINDOW, type TimeWindow } from '../../src/limits.ts';
import { type NonceGuard, openNonceGuard } from '../../src/store/sqlite/nonces.ts';
import { createTestClock, START_MS, type TestClock } from '../support/clock.ts';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { tempFolder } from '../support/temp.ts';
import { openStore } from './open.ts';

const { maxPastMs, maxFutureMs } = TIME_WINDOW;
const WINDOW_MS = maxPastMs + maxFutureMs;
/** One journal takes what arrives in this time. */
const SPAN_MS = WINDOW_MS / 2;

function openGuard(
  dir: string,
  clock: TestClock,
  options: { maxNonces?: number; distrustUntilMs?: number } = {},
): NonceGuard {
  return openNonceGuard({
    dir,
    window: TIME_WINDOW,
    maxNonces: 1_000_000,
    distrustUntilMs: 0,
    now: clock.now,
    ...options,
  });
}

const journals = (dir: string): string[] => readdirSync(dir).filter((name) => name.startsWith('nonces-'));

describe('the nonce guard', () => {
  test('refuses a nonce for as long as its message can be in the window, to the millisecond', async () => {
    // Wherever in the life of a journal the message arrives, and however its time is set.
    for (const arrivedMs of [0, 1, SPAN_MS - 1, SPAN_MS, SPAN_MS + 1]) {
      for (const aheadMs of [maxFutureMs, 0, -maxPastMs]) {
        const dir = tempFolder();
        const clock = createTestClock();
        const guard = openGuard(dir, clock);
        await guard.claim('a', 'begins-a-journal', START_MS);
        clock.nowMs = START_MS + arrivedMs;
        const tsMs = clock.nowMs + aheadMs;
        expect(await guard.claim('a', 'nonce-01', tsMs)).toBe(true);
        for (const nowMs of [clock.nowMs, tsMs + maxPastMs - 1, tsMs + maxPastMs]) {
          clock.nowMs = Math.max(clock.nowMs, nowMs);
          expect(await guard.claim('a', 'nonce-01', tsMs)).toBe(false);
        }
        // From here on the window refuses the message; should it come this far all the same, it is not let through.
        clock.nowMs = tsMs + maxPastMs + 1;
        expect(await guard.claim('a', 'nonce-01', tsMs).catch(() => false)).toBe(false);
        guard.close();
      }
    }
  });

  test('forgets what has left the window, in memory and on disk', async () => {
    const dir = tempFolder();
    const clock = createTestClock();
    const guard = openGuard(dir, clock);
    for (let i = 0; i < 40; i++) {
      clock.nowMs = START_MS + i * (SPAN_MS / 4);
      expect(await guard.claim('a', `nonce-${i}`, clock.nowMs)).toBe(true);
      // What arrived within the window, and what shares a journal with it.
      expect(guard.size).toBeLessThanOrEqual((WINDOW_MS + SPAN_MS) / (SPAN_MS / 4));
      expect(journals(dir).length).toBeLessThanOrEqual(4);
    }
    clock.nowMs += SPAN_MS + WINDOW_MS;
    await guard.claim('a', 'the-only-one', clock.nowMs);
    expect(guard.size).toBe(1);
    expect(journals(dir)).toHaveLength(1);
    guard.close();
  });

  test('lets through no replay and refuses nothing new, over any course of time, restarts and crashes', async () => {
    const step = fc.record({
      afterMs: fc.oneof(
        fc.nat(10),
        fc.nat(SPAN_MS),
        fc.constantFrom(SPAN_MS - 1, SPAN_MS, maxPastMs, WINDOW_MS),
      ),
      aheadMs: fc.oneof(
        fc.integer({ min: -maxPastMs, max: maxFutureMs }),
        fc.constantFrom(-maxPastMs, maxFutureMs),
      ),
      then: fc.constantFrom('nothing', 'nothing', 'nothing', 'restart', 'crash'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const dir = tempFolder();
        const clock = createTestClock();
        let guard = openGuard(dir, clock);
        const used: { readonly nonce: string; readonly tsMs: number }[] = [];
        for (const { afterMs, aheadMs, then } of steps) {
          clock.nowMs += afterMs;
          const message = { nonce: `nonce-${used.length}`, tsMs: clock.nowMs + aheadMs };
          const inWindow = used.filter(
            ({ tsMs }) => clock.nowMs - maxPastMs <= tsMs && tsMs <= clock.nowMs + maxFutureMs,
          );
          for (const { nonce, tsMs } of inWindow) expect(await guard.claim('a', nonce, tsMs)).toBe(false);
          expect(await guard.claim('a', message.nonce, message.tsMs)).toBe(true);
          used.push(message);
          if (then === 'restart') guard.close();
          // A crash: nothing is closed, and what was written is there.
          if (then !== 'nothing') guard = openGuard(dir, clock);
        }
        guard.close();
      }),
      { numRuns: 60 },
    );
  });

  test('is busy when it is full, says when to come back, and takes calls again when the window has passed', async () => {
    const clock = createTestClock();
    const guard = openGuard(tempFolder(), clock, { maxNonces: 3 });
    for (const nonce of ['nonce-01', 'nonce-02', 'nonce-03'])
      expect(await guard.claim('a', nonce, clock.nowMs)).toBe(true);
    await expect(guard.claim('a', 'nonce-04', clock.nowMs)).rejects.toMatchObject({
      code: 'busy',
      result: { retry_after_ms: SPAN_MS },
    });
    // Live entries are never evicted.
    expect(await guard.claim('a', 'nonce-01', clock.nowMs)).toBe(false);
    clock.nowMs += SPAN_MS + WINDOW_MS;
    expect(await guard.claim('a', 'nonce-04', clock.nowMs)).toBe(true);
    guard.close();
  });

  test('takes at most 64 bytes an entry from 1 000 entries on', async () => {
    const clock = createTestClock();
    const guard = openGuard(tempFolder(), clock);
    let worst = 0;
    for (let size = 1_000; size <= 64_000; size += 1_000) {
      await Promise.all(
        Array.from({ length: 1_000 }, (_, i) => guard.claim('a', `nonce-${size}-${i}`, clock.nowMs)),
      );
      expect(guard.size).toBe(size);
      worst = Math.max(worst, guard.bytes / guard.size);
    }
    expect(worst).toBeLessThanOrEqual(64);
    guard.close();
  });
});

describe.skipIf(!canLimitFiles)('the nonce guard on a full disk', () => {
  test('lets nothing through that is not written, and takes calls again when there is room', async () => {
    const dir = tempFolder();
    const clock = createTestClock();
    const guard = openGuard(dir, clock);
    expect(await guard.claim('a', 'nonce-01', clock.nowMs)).toBe(true);
    const allow = limitFiles(40);
    const refused = await Promise.allSettled(
      ['nonce-02', 'nonce-03'].map((nonce) => guard.claim('a', nonce, clock.nowMs)),
    );
    expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(guard.claim('a', 'nonce-04', clock.nowMs)).rejects.toThrow('cannot be stored');
    allow();
    expect(await guard.claim('a', 'nonce-05', clock.nowMs)).toBe(true);
    expect(await guard.claim('a', 'nonce-01', clock.nowMs)).toBe(false);
    const afterCrash = openGuard(dir, clock);
    expect(await afterCrash.claim('a', 'nonce-05', clock.nowMs)).toBe(false);
    expect(await afterCrash.claim('a', 'nonce-01', clock.nowMs)).toBe(false);
    guard.close();
    afterCrash.close();
  });

  test('a new journal that cannot be begun leaves no litter, and the next one is good', async () => {
    const dir = tempFolder();
    const clock = createTestClock();
    const guard = openGuard(dir, clock);
    const allow = limitFiles(3);
    for (let i = 0; i < 20; i++) {
      clock.nowMs++;
      await expect(guard.claim('a', `nonce-${i}`, clock.nowMs)).rejects.toThrow('cannot be stored');
    }
    allow();
    expect(journals(dir)).toEqual([]);
    expect(await guard.claim('a', 'nonce-99', clock.nowMs)).toBe(true);
    guard.close();
  });
});

describe('after a server that did not close', () => {
  /** The folder as it stands on disk while its server runs: what a crash leaves. */
  function crashed(dir: string): string {
    const copy = join(tempFolder(), 'copy');
    cpSync(dir, copy, { recursive: true });
    return copy;
  }

  async function runAndCrash(clock: TestClock, window: TimeWindow = TIME_WINDOW) {
    const store = openStore({ now: clock.now, bootMs: clock.nowMs - 1_000, window });
    await store.nonces.claim('a', 'nonce-01', clock.nowMs);
    return crashed(store.dir);
  }

  test('a process that was killed: all nonces are known, and calls go on at once', async () => {
    const clock = createTestClock();
    const dir = await runAndCrash(clock);
    clock.nowMs += 5_000;
    const { nonces } = openStore({ dir, now: clock.now, bootMs: START_MS - 1_000 });
    expect(await nonces.claim('a', 'nonce-01', START_MS)).toBe(false);
    expect(await nonces.claim('a', 'nonce-02', clock.nowMs)).toBe(true);
  });

  test('a power cut: nothing passes that may have been signed before it, however far ahead', async () => {
    const clock = createTestClock();
    const dir = await runAndCrash(clock);
    clock.nowMs += 5_000;
    const bootMs = START_MS + 2_000;
    const { nonces } = openStore({ dir, now: clock.now, bootMs });
    const untilMs = clock.nowMs + maxFutureMs;
    await expect(nonces.claim('a', 'nonce-02', START_MS)).rejects.toMatchObject({ code: 'busy' });
    await expect(nonces.claim('a', 'nonce-02', untilMs)).rejects.toMatchObject({
      code: 'busy',
      result: { retry_after_ms: maxFutureMs + 1 },
    });
    clock.nowMs = untilMs + 1;
    expect(await nonces.claim('a', 'nonce-02', clock.nowMs)).toBe(true);
    await expect(nonces.claim('a', 'nonce-03', untilMs)).rejects.toMatchObject({ code: 'busy' });
  });

  test('a power cut: a second start within the minute knows no more than the first', async () => {
    const clock = createTestClock();
    const dir = await runAndCrash(clock);
    const bootMs = START_MS + 2_000;
    clock.nowMs = START_MS + 10_000;
    await openStore({ dir, now: clock.now, bootMs }).close();
    clock.nowMs += 5_000;
    const { nonces } = openStore({ dir, now: clock.now, bootMs });
    await expect(nonces.claim('a', 'nonce-02', clock.nowMs)).rejects.toMatchObject({ code: 'busy' });
    const afterMs = START_MS + 10_000 + maxFutureMs + 1;
    clock.nowMs = afterMs;
    expect(await nonces.claim('a', 'nonce-02', afterMs)).toBe(true);
  });

  test('a power cut after a clean close costs nothing', async () => {
    const clock = createTestClock();
    const store = openStore({ now: clock.now, bootMs: START_MS - 1_000 });
    const { dir } = store;
    await store.nonces.claim('a', 'nonce-01', clock.nowMs);
    await store.close();
    clock.nowMs += 5_000;
    const { nonces } = openStore({ dir, now: clock.now, bootMs: START_MS + 2_000 });
    expect(await nonces.claim('a', 'nonce-01', START_MS)).toBe(false);
    expect(await nonces.claim('a', 'nonce-02', clock.nowMs)).toBe(true);
  });

  test.each([
    ['a longer past', { maxPastMs: maxPastMs * 10, maxFutureMs }],
    ['a shorter past', { maxPastMs: 1_000, maxFutureMs }],
    ['more future', { maxPastMs, maxFutureMs: maxFutureMs * 2 }],
    ['less future', { maxPastMs, maxFutureMs: 0 }],
  ])(
    'a start with another window, %s: what was kept for the old one is not enough to trust',
    async (_what, window) => {
      const clock = createTestClock();
      const store = openStore({ now: clock.now });
      const { dir } = store;
      await store.close();
      const changed = openStore({ dir, now: clock.now, window });
      const untilMs = clock.nowMs + Math.max(maxFutureMs, window.maxFutureMs);
      await expect(changed.nonces.claim('a', 'nonce-01', clock.nowMs)).rejects.toMatchObject({
        code: 'busy',
      });
      await expect(changed.nonces.claim('a', 'nonce-01', untilMs)).rejects.toMatchObject({ code: 'busy' });
      clock.nowMs = untilMs + 1;
      expect(await changed.nonces.claim('a', 'nonce-01', clock.nowMs)).toBe(true);
      await changed.close();
      expect(
        await openStore({ dir, now: clock.now, window }).nonces.claim('a', 'nonce-02', clock.nowMs),
      ).toBe(true);
    },
  );
});
