import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createSecretKey, randomBytes } from 'node:crypto';
import { auditKeys, type Chain, openChain } from '../../../src/audit/index.ts';
import { readNew, readTail, type Shown } from '../../../src/cli/audit/reader.ts';
import { type AuditFiles, createAuditFiles } from '../../../src/store/sqlite/audit.ts';
import { tempFolder } from '../../support/temp.ts';

const KEY = auditKeys(createSecretKey(randomBytes(32)));

/** What one chain holds after its first record: who called, or a head, and how long after the record before. */
interface Step {
  readonly client: 'alice' | 'bob' | null;
  readonly afterMs: number;
}

interface Writing {
  readonly chain: Chain;
  step(step: Step): void;
  /** Writes what was added since. */
  save(): Promise<void>;
}

function write(files: AuditFiles, id: string, startMs: number): Writing {
  let nowMs = startMs;
  const chain = openChain({ id, serverId: 's', key: KEY, links: [], now: () => nowMs });
  return {
    chain,
    step({ client, afterMs }) {
      nowMs += afterMs;
      if (client === null) return chain.head();
      const digest = 'd'.repeat(43);
      const call = { wire: 'mcp/0.1', key: 'k', requestId: 'r', tool: 't', outcome: 'ok' } as const;
      chain.add({ type: 'call', client, request: digest, reply: digest, ...call });
    },
    async save() {
      const batch = chain.take();
      if (batch !== null) await files.append(chain.id, batch.fromSeq, batch.lines);
    },
  };
}

const places = (records: readonly Shown[]): string[] => records.map(({ chain, seq }) => `${chain}:${seq}`);
const byAlice = ({ members }: Shown): boolean => members['client'] === 'alice';
const any = (): boolean => true;

describe('the newest records of all chains', () => {
  const steps = fc.array(
    fc.record({ client: fc.constantFrom('alice', 'bob', null), afterMs: fc.integer({ min: 0, max: 5 }) }),
    { maxLength: 120 },
  );
  const chains = fc.array(fc.record({ startMs: fc.integer({ min: 0, max: 100 }), steps }), {
    minLength: 1,
    maxLength: 4,
  });

  test('are those that sorting everything by time would show, whatever is asked for', async () => {
    const given = fc.record({ chains, count: fc.integer({ min: 0, max: 30 }), isFiltered: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(given, async ({ chains: all, count, isFiltered }) => {
        const files = createAuditFiles(tempFolder());
        for (const [i, { startMs, steps: each }] of all.entries()) {
          const writing = write(files, `c${i}`, startMs);
          each.forEach(writing.step);
          await writing.save();
        }
        const filter = isFiltered ? byAlice : any;
        const { records: everything } = await readTail(files, 1_000_000, filter);
        const times = everything.map(({ ms }) => ms);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        const expected = isFiltered
          ? all.flatMap(({ steps: each }) => each).filter(({ client }) => client === 'alice').length
          : all.flatMap(({ steps: each }) => each).length + all.length;
        expect(everything).toHaveLength(expected);
        const { records } = await readTail(files, count, filter);
        expect(places(records)).toEqual(places(count === 0 ? [] : everything.slice(-count)));
        files.close();
      }),
      { numRuns: 30 },
    );
  });

  test('are gone on with: each later record once, of new chains too, none of what was there', async () => {
    const files = createAuditFiles(tempFolder());
    const [first, second] = [write(files, 'c1', Date.now()), write(files, 'c2', Date.now())];
    first.step({ client: 'alice', afterMs: 0 });
    await first.save();
    const { marks } = await readTail(files, 1, any);
    expect(await readNew(files, marks, any, false)).toEqual([]);
    first.step({ client: 'bob', afterMs: 9 });
    first.step({ client: 'alice', afterMs: 0 });
    await first.save();
    await second.save();
    expect(places(await readNew(files, marks, any, false))).toEqual(['c2:0', 'c1:2', 'c1:3']);
    expect(await readNew(files, marks, any, false)).toEqual([]);
    first.step({ client: 'bob', afterMs: 1 });
    second.step({ client: 'alice', afterMs: 1 });
    await first.save();
    await second.save();
    expect(places(await readNew(files, marks, byAlice, false))).toEqual(['c2:1']);
    files.close();
  });

  test('of a chain that has been silent for long come with a thorough look only', async () => {
    const files = createAuditFiles(tempFolder());
    const silent = write(files, 'c1', Date.now() - 3_600_000);
    await silent.save();
    const { marks } = await readTail(files, 1, any);
    silent.step({ client: 'alice', afterMs: 3_600_000 });
    await silent.save();
    expect(await readNew(files, marks, any, false)).toEqual([]);
    expect(places(await readNew(files, marks, any, true))).toEqual(['c1:1']);
    silent.step({ client: 'alice', afterMs: 1 });
    await silent.save();
    expect(places(await readNew(files, marks, any, false))).toEqual(['c1:2']);
    files.close();
  });

  test('have a place where a line is damaged, and what stands around it', async () => {
    const files = createAuditFiles(tempFolder());
    await files.append('c1', 0, 'not json\n');
    const writing = write(files, 'c2', 7);
    writing.step({ client: 'alice', afterMs: 0 });
    const { lines = '' } = writing.chain.take() ?? {};
    await files.append('c2', 0, `${lines}{"prev":"cut\n`);
    const { records } = await readTail(files, 5, any);
    expect(records.map(({ chain, seq, type }) => `${chain}:${seq} ${type}`)).toEqual([
      'c1:0 damaged',
      'c2:0 open',
      'c2:1 call',
      'c2:2 damaged',
    ]);
    files.close();
  });
});
