import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { openAudit } from '../../src/audit/index.ts';
import { AUDIT_LIMITS } from '../../src/audit/limits.ts';
import { type RefusalsRecord, writeLine } from '../../src/audit/record.ts';
import { createRefusals } from '../../src/audit/refusals.ts';
import { StoreError } from '../../src/errors/index.ts';
import type { AuditRecords } from '../../src/store/audit-records.ts';
import { openStore } from '../store/open.ts';
import { expectVerified, readAll, TEST_KEYS } from '../support/audit.ts';
import { createTestLog } from '../support/log.ts';
import { bundleOf, CALL, makeChains, recordOf, START_MS, verifyText } from './bundles.ts';

const LIMIT = AUDIT_LIMITS.refusalsPerMinute;
const MINUTE_MS = 60_000;
/** Of the minute in which START_MS is. */
const MINUTE_START_MS = START_MS - (START_MS % MINUTE_MS);

afterEach(() => vi.useRealTimers());

/** A clock of our own, and a timer that follows it. */
function fakeTime() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const time = {
    nowMs: START_MS,
    pass(ms: number) {
      time.nowMs += ms;
      vi.advanceTimersByTime(ms);
    },
  };
  return time;
}

function counter() {
  const time = fakeTime();
  const written: RefusalsRecord[] = [];
  const state = { canWrite: true, ended: Promise.resolve() };
  const refusals = createRefusals({
    now: () => time.nowMs,
    canWrite: () => state.canWrite,
    write(records) {
      written.push(...records);
      return state.ended;
    },
  });
  onTestFinished(() => void refusals.end());
  const refuse = (client: string, count: number): number =>
    Array.from({ length: count }, () => refusals.admits(client)).filter(Boolean).length;
  return { time, written, state, refusals, refuse };
}

const counted = (client: string, count: number, fromMs = MINUTE_START_MS): RefusalsRecord => ({
  type: 'refusals',
  client,
  count,
  fromMs,
});

/** Until all that waits for promises has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('of the refusals in one minute', () => {
  test('so many of each client have a record, and the others are counted', () => {
    const { refuse, refusals } = counter();
    expect(refuse('alice', LIMIT + 100)).toBe(LIMIT);
    expect(refuse('bob', 5)).toBe(5);
    expect(refuse('carol', LIMIT + 1)).toBe(LIMIT);
    expect(refusals.end()).toEqual([counted('alice', 100), counted('carol', 1)]);
  });

  test('the count is written with the next one that comes when the minute is over', () => {
    const { time, written, refuse } = counter();
    refuse('alice', LIMIT + 2);
    time.nowMs += MINUTE_MS;
    expect(written).toEqual([]);
    expect(refuse('bob', 1)).toBe(1);
    expect(written).toEqual([counted('alice', 2)]);
    expect(refuse('alice', LIMIT + 1)).toBe(LIMIT);
  });

  test('the count is written by itself when nobody comes', async () => {
    const { time, written, refuse } = counter();
    time.pass(20_000);
    refuse('alice', LIMIT + 3);
    time.pass(MINUTE_MS - ((START_MS + 20_000) % MINUTE_MS) - 1);
    expect(written).toEqual([]);
    time.pass(1);
    expect(written).toEqual([counted('alice', 3)]);
    await settled();
    time.pass(10 * MINUTE_MS);
    expect(written).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('no timer runs for those who stay below it', () => {
    const { refuse } = counter();
    refuse('alice', LIMIT);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a clock that is put back begins another minute', () => {
    const { time, written, refuse } = counter();
    refuse('alice', LIMIT + 1);
    time.nowMs -= 3_600_000;
    expect(refuse('alice', 1)).toBe(1);
    expect(written).toEqual([counted('alice', 1)]);
  });
});

describe('while nothing can be written', () => {
  test.each(['down', 'hanging'] as const)(
    'by an audit that is %s, one count goes on for each client',
    async (how) => {
      const { time, written, state, refuse } = counter();
      let letGo = (): void => {};
      if (how === 'down') {
        state.canWrite = false;
      } else {
        state.ended = new Promise((resolve) => {
          letGo = resolve;
        });
        refuse('zoe', LIMIT + 1);
        time.pass(MINUTE_MS);
        expect(written.splice(0)).toEqual([counted('zoe', 1)]);
      }
      const fromMs = time.nowMs - (time.nowMs % MINUTE_MS);
      for (let minute = 0; minute < 5; minute++) {
        for (const client of ['alice', 'bob']) refuse(client, LIMIT + 1);
        time.pass(MINUTE_MS);
      }
      expect(written).toEqual([]);
      state.canWrite = true;
      letGo();
      await settled();
      time.pass(MINUTE_MS);
      expect(written).toEqual([counted('alice', 5, fromMs), counted('bob', 5, fromMs)]);
    },
  );
});

test('each refusal is recorded or counted, once, whatever the time and the audit do', async () => {
  const step = fc.record({
    client: fc.constantFrom('alice', 'bob', 'carol'),
    count: fc.integer({ min: 1, max: 2 * LIMIT }),
    passMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 * MINUTE_MS })),
    canWrite: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const { time, written, state, refusals, refuse } = counter();
      const totals = new Map<string, number>();
      const add = (client: string, count: number) => totals.set(client, (totals.get(client) ?? 0) + count);
      const perMinute = new Map<string, number>();
      for (const { client, count, passMs, canWrite } of steps) {
        state.canWrite = canWrite;
        const admitted = refuse(client, count);
        const key = `${client} ${Math.floor(time.nowMs / MINUTE_MS)}`;
        perMinute.set(key, (perMinute.get(key) ?? 0) + admitted);
        add(client, count - admitted);
        time.pass(passMs);
        await settled();
      }
      expect(Math.max(0, ...perMinute.values())).toBeLessThanOrEqual(LIMIT);
      for (const { client, count } of [...written, ...refusals.end()]) add(client, -count);
      expect([...totals.values()].filter((rest) => rest !== 0)).toEqual([]);
      vi.useRealTimers();
    }),
    { numRuns: 50 },
  );
});

describe('the record of a count', () => {
  test('is JSON with client, count and from_ms, bound as every record is', () => {
    const { text, hash } = writeLine(counted('alice', 100), { prev: 'A'.repeat(43), seq: 7, ms: START_MS });
    const members = {
      prev: 'A'.repeat(43),
      seq: 7,
      ms: START_MS,
      type: 'refusals',
      client: 'alice',
      count: 100,
      from_ms: MINUTE_START_MS,
      hash,
    };
    expect(text).toBe(JSON.stringify(members));
    expect(recordOf(text).members).toEqual(members);
  });

  test('is part of a bundle that holds, and its change is caught', async () => {
    const bundle = await bundleOf(makeChains([[CALL, counted('alice', 100), CALL, 'close']]));
    expect((await verifyText(bundle)).ok).toBe(true);
    const verdict = await verifyText(bundle.replace('"count":100', '"count":101'));
    expect(verdict.ok ? null : verdict.finding).toMatchObject({ problem: 'changed', seq: 2 });
  });
});

describe('the audit of a process', () => {
  async function open(records: AuditRecords) {
    const clock = { nowMs: START_MS };
    const now = () => clock.nowMs;
    const audit = await openAudit({ records, serverId: 'srv-1', keys: TEST_KEYS, log: createTestLog(), now });
    onTestFinished(() => audit.close().catch(() => {}));
    const refuse = (client: string, count: number) => {
      for (let n = 0; n < count; n++) audit.admitsRefusal(client);
    };
    return { audit, clock, refuse };
  }

  async function countsIn(records: AuditRecords) {
    const lines = (await readAll(records)).flat().filter(({ type }) => type === 'refusals');
    return lines.map((line) => [line['client'], line['count'], line['from_ms']]);
  }

  test('has what was counted before its end', async () => {
    const records = openStore().audit;
    const { audit, refuse } = await open(records);
    refuse('alice', LIMIT + 100);
    await audit.close();
    expect(await countsIn(records)).toEqual([['alice', 100, MINUTE_START_MS]]);
    await expectVerified(records, TEST_KEYS.publicText);
    // What comes after it is not counted: it is refused as every record is.
    expect(audit.admitsRefusal('alice')).toBe(true);
  });

  test('loses no count to a store that fails', async () => {
    const store = openStore().audit;
    let isBroken = false;
    const append: AuditRecords['append'] = (...args) =>
      isBroken ? Promise.reject(new StoreError('no connection')) : store.append(...args);
    const { audit, clock, refuse } = await open({ ...store, append });
    refuse('alice', LIMIT + 1);
    isBroken = true;
    clock.nowMs += MINUTE_MS;
    refuse('alice', LIMIT + 2);
    await audit.flushed().catch(() => {});
    expect(audit.isDown).toBe(true);
    clock.nowMs += MINUTE_MS;
    refuse('alice', LIMIT + 3);
    isBroken = false;
    await audit.close();
    expect(await countsIn(store)).toEqual([
      ['alice', 1, MINUTE_START_MS],
      ['alice', 5, MINUTE_START_MS + MINUTE_MS],
    ]);
    await expectVerified(store, TEST_KEYS.publicText);
  });
});
