import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type AuditLog, openAudit } from '../../src/audit/index.ts';
import type { CallRecord, JobStateRecord } from '../../src/audit/record.ts';
import { SetupError, StoreError } from '../../src/errors/index.ts';
import { AUDIT_LIMITS } from '../../src/audit/limits.ts';
import type { AuditRecords } from '../../src/store/audit-records.ts';
import { openStore } from '../store/open.ts';
import { type AuditLine, expectVerified, readAll, TEST_KEYS } from '../support/audit.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { createTestLog } from '../support/log.ts';

type Fate = 'stored' | 'lost' | 'in doubt' | 'late';

/** The audit of a real store whose next appends fail as they are told. */
interface Flaky extends AuditRecords {
  /** Of the appends to come; then all are stored. */
  readonly fates: Fate[];
  /** Those that were made. */
  readonly appends: { readonly chain: string; readonly fromSeq: number; readonly lines: string }[];
  /** Held until it resolves. */
  gate: Promise<void>;
}

function flaky(records: AuditRecords): Flaky {
  const late: (() => Promise<void>)[] = [];
  const self: Flaky = {
    ...records,
    fates: [],
    appends: [],
    gate: Promise.resolve(),
    async append(chain, fromSeq, lines) {
      const store = () => records.append(chain, fromSeq, lines);
      self.appends.push({ chain, fromSeq, lines });
      await self.gate;
      const fate = self.fates.shift() ?? 'stored';
      if (fate === 'stored' || fate === 'in doubt') await store();
      // As a statement whose connection broke, and that the database runs all the same.
      for (const each of late.splice(0)) await each();
      if (fate === 'late') late.push(store);
      if (fate !== 'stored') throw new StoreError('no connection');
    },
  };
  return self;
}

async function open(records: AuditRecords, now = Date.now): Promise<AuditLog> {
  const audit = await openAudit({
    records,
    serverId: 'srv-1',
    keys: TEST_KEYS,
    log: createTestLog(),
    now,
  });
  onTestFinished(() => audit.close().catch(() => {}));
  return audit;
}

const call = (requestId: string): CallRecord => ({
  type: 'call',
  client: 'agent-a',
  wire: 'mcp/0.1',
  key: 'f'.repeat(32),
  requestId,
  tool: 'echo',
  request: 'q'.repeat(43),
  reply: 'p'.repeat(43),
  outcome: 'ok',
});
const job = (id: string): JobStateRecord => ({
  type: 'job',
  job: id,
  client: 'agent-a',
  tool: 'work',
  state: 'queued',
});

const idsOf = (lines: readonly AuditLine[]) =>
  lines.flatMap((line) =>
    line['type'] === 'call' || line['type'] === 'job' ? [line['request_id'] ?? line['job']] : [],
  );
const typesOf = (lines: readonly AuditLine[]) => lines.map((line) => line['type']);

afterEach(() => vi.useRealTimers());

/** Of the first record of a chain. */
function linksIn(first: AuditLine | undefined): readonly { readonly chain: string; readonly seq: number }[] {
  // As openMembersOf reads them.
  return (first?.['links'] ?? []) as { chain: string; seq: number }[];
}

/** Only what the log waits with; turns of the event loop stay real. */
function fakeTime(): (ms: number) => Promise<void> {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  return async (ms) => {
    vi.advanceTimersByTime(ms);
    await new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));
  };
}

/** No head is due before the test says so, however slow the machine is. */
function stillTime(): TestClock {
  fakeTime();
  return createTestClock(Date.now());
}

describe('the audit of one process', () => {
  test('is a chain that opens, holds what was recorded in its order, and ends', async () => {
    const records = openStore().audit;
    const audit = await open(records, stillTime().now);
    for (let n = 0; n < 5; n++) await audit.add(call(`call-${n}`));
    await audit.add(job('job-1'));
    await audit.close();
    const [lines = [], ...others] = await readAll(records);
    expect(others).toEqual([]);
    expect(typesOf(lines)).toEqual(['open', ...Array.from({ length: 5 }, () => 'call'), 'job', 'close']);
    expect(idsOf(lines)).toEqual(['call-0', 'call-1', 'call-2', 'call-3', 'call-4', 'job-1']);
    expect(lines[0]).toMatchObject({ server_id: 'srv-1', key: audit.key, links: [] });
    expect(await expectVerified(records, TEST_KEYS.publicText)).toBe(8);
  });

  test('a record resolves when it is stored, and not before', async () => {
    const records = flaky(openStore().audit);
    const audit = await open(records);
    let letGo = (): void => {};
    records.gate = new Promise((resolve) => {
      letGo = resolve;
    });
    let isDone = false;
    const written = audit.add(call('call-1')).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isDone).toBe(false);
    expect(idsOf((await readAll(records)).flat())).toEqual([]);
    letGo();
    await written;
    expect(idsOf((await readAll(records)).flat())).toEqual(['call-1']);
  });

  test('records of one turn are one append, and so are those that come while it is under way', async () => {
    const records = flaky(openStore().audit);
    const audit = await open(records, stillTime().now);
    const first = Array.from({ length: 10 }, (_, n) => audit.add(call(`a-${n}`)));
    let letGo = (): void => {};
    records.gate = new Promise((resolve) => {
      letGo = resolve;
    });
    // That of its opening, and the one that is under way from now on.
    await expect.poll(() => records.appends.length).toBe(2);
    const later = Array.from({ length: 10 }, (_, n) => audit.add(call(`b-${n}`)));
    await new Promise((resolve) => setTimeout(resolve, 10));
    later.push(audit.add(call('b-10')));
    letGo();
    await Promise.all([...first, ...later]);
    expect(records.appends.map(({ fromSeq }) => fromSeq)).toEqual([0, 1, 11]);
  });

  test('a head is written a second after the first record it signs, and every minute while nothing happens', async () => {
    const pass = fakeTime();
    const records = openStore().audit;
    const audit = await open(records);
    const heads = async () =>
      typesOf((await readAll(records)).flat()).filter((type) => type === 'head').length;
    await audit.add(call('call-1'));
    await pass(AUDIT_LIMITS.headMs);
    expect(await heads()).toBe(1);
    for (let second = 0; second < 50; second++) await pass(1_000);
    expect(await heads()).toBe(1);
    for (let second = 0; second < 10; second++) await pass(1_000);
    expect(await heads()).toBe(2);
    await audit.add(call('call-2'));
    await pass(AUDIT_LIMITS.headMs);
    expect(await heads()).toBe(3);
    await expectVerified(records, TEST_KEYS.publicText);
  });

  test('a head comes with the first record after the clock has leapt, as when the machine slept', async () => {
    const clock = stillTime();
    const records = openStore().audit;
    const audit = await open(records, clock.now);
    await audit.add(call('call-1'));
    for (const leapMs of [3_600_000, -7_200_000]) {
      clock.nowMs += leapMs;
      await audit.add(call('call-2'));
    }
    const [lines = []] = await readAll(records);
    expect(typesOf(lines)).toEqual(['open', 'call', 'call', 'head', 'call', 'head']);
  });

  test('what is recorded after its end is refused', async () => {
    const records = openStore().audit;
    const audit = await open(records, stillTime().now);
    const last = audit.add(call('call-1'));
    await Promise.all([audit.close(), audit.close()]);
    await last;
    await expect(audit.add(call('call-2'))).rejects.toBeInstanceOf(StoreError);
    await expect(audit.flushed()).rejects.toBeInstanceOf(StoreError);
    expect(typesOf((await readAll(records)).flat())).toEqual(['open', 'call', 'close']);
  });

  test('a store that cannot be written at the start is a clear error', async () => {
    const records = flaky(openStore().audit);
    records.fates.push('lost');
    await expect(open(records)).rejects.toThrow(new SetupError('the audit cannot be written: no connection'));
  });
});

describe('links', () => {
  /** The chains that each one links to, by their place. */
  async function linksOf(records: AuditRecords): Promise<number[][]> {
    const ids = await records.chains();
    return (await readAll(records)).map(([first]) => linksIn(first).map(({ chain }) => ids.indexOf(chain)));
  }

  test('each process links to the end of the one before: what is linked to and has ended is not again', async () => {
    const clock = stillTime();
    const records = openStore().audit;
    for (let n = 0; n < 4; n++) {
      const audit = await open(records, clock.now);
      await audit.add(call(`call-${n}`));
      await audit.close();
      clock.nowMs += 2;
    }
    expect(await linksOf(records)).toEqual([[], [0], [1], [2]]);
    const chains = await readAll(records);
    expect(chains[1]?.[0]?.['links']).toEqual([
      { chain: (await records.chains())[0], seq: 2, hash: chains[0]?.at(-1)?.['hash'] },
    ]);
    await expectVerified(records);
  });

  test('a chain that goes on is linked to again, however many others began since', async () => {
    const clock = stillTime();
    const records = openStore().audit;
    const long = await open(records, clock.now);
    for (let n = 0; n < 3; n++) {
      await long.add(call(`call-${n}`));
      clock.nowMs += 2;
      await (await open(records, clock.now)).close();
    }
    expect(await linksOf(records)).toEqual([[], [0], [0, 1], [0, 2]]);
    const seqs = (await readAll(records)).map(([first]) => linksIn(first)[0]?.seq);
    expect(seqs).toEqual([undefined, 1, 2, 3]);
    await long.close();
    await expectVerified(records);
  });

  test('a chain of long ago that still runs is found through the links of newer ones', async () => {
    const records = flaky(openStore().audit);
    const clock = stillTime();
    const openNext = () => {
      clock.nowMs += 2;
      return open(records, clock.now);
    };
    const long = await openNext();
    const id = records.appends[0]?.chain ?? '';
    for (let n = 0; n < 140; n++) {
      // It says something now and then, if only a head: those that begin after it link to that.
      if (n === 100) await long.add(call('call-0'));
      await (await openNext()).close();
    }
    await long.add(call('call-1'));
    await (await openNext()).close();
    const [newest] = (await readAll(records)).at(-1) ?? [];
    const seq = Number(JSON.parse((await records.last(id)) ?? '{}').seq);
    expect(seq).toBeGreaterThan(0);
    expect(newest?.['links']).toContainEqual(expect.objectContaining({ chain: id, seq }));
    await expectVerified(records);
  });
});

describe('a store that fails', () => {
  test.each(['lost', 'in doubt', 'late'] as const)(
    'an append that is %s: all that wait are told, and the next chain goes on without gap or fork',
    async (fate) => {
      const pass = fakeTime();
      const records = flaky(openStore().audit);
      const audit = await open(records);
      await audit.add(call('call-1'));
      records.fates.push(fate);
      const failed = [audit.add(call('call-2')), audit.add(job('job-1')), audit.add(call('call-3'))];
      for (const each of failed) await expect(each).rejects.toBeInstanceOf(StoreError);
      expect(audit.isDown).toBe(true);
      // At once, without asking the store.
      const asked = records.appends.length;
      await expect(audit.add(call('call-4'))).rejects.toBeInstanceOf(StoreError);
      await expect(audit.add(job('job-2'))).rejects.toBeInstanceOf(StoreError);
      expect(records.appends.length).toBe(asked);
      await pass(AUDIT_LIMITS.retryMs);
      await audit.flushed();
      expect(audit.isDown).toBe(false);
      await audit.add(call('call-5'));
      await audit.close();
      const [first = [], second = [], ...others] = await readAll(records);
      expect(others).toEqual([]);
      const kept = fate === 'lost' ? [] : ['call-2', 'job-1', 'call-3'];
      expect(idsOf(first)).toEqual(['call-1', ...kept]);
      // What has happened is told in any case.
      expect(idsOf(second)).toEqual(['job-1', 'job-2', 'call-5']);
      await expectVerified(records, TEST_KEYS.publicText);
    },
  );

  test('it is tried again by itself when nobody calls', async () => {
    const pass = fakeTime();
    const records = flaky(openStore().audit);
    const audit = await open(records);
    records.fates.push('lost');
    await expect(audit.add(job('job-1'))).rejects.toBeInstanceOf(StoreError);
    await pass(AUDIT_LIMITS.headMs);
    await vi.waitFor(async () => expect(idsOf((await readAll(records)).flat())).toEqual(['job-1']), 20_000);
    expect(audit.isDown).toBe(false);
  });

  test('whatever fails and when: what was acknowledged is there once, and every chain holds', async () => {
    const fate = fc.constantFrom<Fate>('stored', 'stored', 'lost', 'in doubt', 'late');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fate, fc.nat(3)), { maxLength: 12 }), async (steps) => {
        const pass = fakeTime();
        const records = flaky(openStore().audit);
        const audit = await open(records);
        const acknowledged: unknown[] = [];
        const happened: unknown[] = [];
        for (const [n, [next, count]] of steps.entries()) {
          records.fates.splice(0, 1, next);
          const group = [job(`job-${n}`), ...Array.from({ length: count }, (_, i) => call(`call-${n}-${i}`))];
          happened.push(`job-${n}`);
          const ends = await Promise.allSettled(group.map((record) => audit.add(record)));
          for (const [i, { status }] of ends.entries())
            if (status === 'fulfilled') acknowledged.push(idsOf([lineOf(group[i])])[0]);
          await pass(AUDIT_LIMITS.retryMs);
        }
        records.fates.splice(0);
        await pass(AUDIT_LIMITS.retryMs);
        await audit.close();
        const found = idsOf((await readAll(records)).flat());
        expect(found).toEqual(expect.arrayContaining(acknowledged));
        expect(happened.filter((id) => !found.includes(id))).toEqual([]);
        const calls = found.filter((id) => String(id).startsWith('call'));
        expect(new Set(calls).size).toBe(calls.length);
        await expectVerified(records, TEST_KEYS.publicText);
        vi.useRealTimers();
      }),
      { numRuns: 60 },
    );
  });
});

function lineOf(record: CallRecord | JobStateRecord | undefined): AuditLine {
  return record?.type === 'call'
    ? { type: 'call', request_id: record.requestId }
    : { type: 'job', job: record?.job };
}
