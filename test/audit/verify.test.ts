import { createSecretKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { auditKeys } from '../../src/audit/keys.ts';
import { openChain } from '../../src/audit/chain.ts';
import type { Link } from '../../src/audit/record.ts';
import { bundleFile, verifyBundle, verifyStore } from '../../src/audit/verify.ts';
import { AUDIT_LIMITS } from '../../src/audit/limits.ts';
import { tempFolder } from '../support/temp.ts';
import {
  anySteps,
  bundleOf,
  CALL,
  type Chains,
  doStep,
  findingIn,
  KEYS,
  lastsOf,
  linesOf,
  makeChains,
  rehashed,
  SERVER_ID,
  sourceOf,
  START_MS,
  type Step,
  textOf,
  verifyText,
} from './bundles.ts';

const OTHER = auditKeys(createSecretKey(Buffer.alloc(32, 9)));

/** Two replicas, one of which died, and one that came later: 6, 5 and 4 records. */
const CHAINS = makeChains([
  [CALL, CALL, 'head', CALL, 'close'],
  [CALL, 'head', CALL, { ...CALL, client: 'bob' }],
  ['head', CALL, 'head'],
]);
const [A = '', B = '', C = ''] = [...CHAINS.keys()];
const BUNDLE = await bundleOf(CHAINS);
const LINES = linesOf(BUNDLE);

/** Where each line ends, its line feed included. */
const ENDS: number[] = [];
for (const { text } of LINES) ENDS.push((ENDS.at(-1) ?? 0) + text.length + 1);

/** Index of a record's line in the bundle. */
const at = (chain: string, seq: number) =>
  LINES.findIndex((line) => line.chain === chain && line.seq === seq);
const lineOf = (chain: string, seq: number) => LINES[at(chain, seq)]?.text ?? '';
const indexOfRecord = fc.integer({ min: 1, max: LINES.length - 2 });

/** The bundle with one line replaced. */
const withLine = (index: number, ...lines: string[]) => textOf(LINES.toSpliced(index, 1, ...lines.map(bare)));
const bare = (text: string) => ({ text, chain: null, seq: null });
/** The record of a line, as findings name it. */
const nameOf = (index: number) => ({ chain: LINES[index]?.chain, seq: LINES[index]?.seq });

describe('a bundle as it was written', () => {
  test('holds, whatever was recorded, and in whatever pieces it is read', async () => {
    const chains = fc.array(anySteps, { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(chains, fc.integer({ min: 1, max: 5_000 }), async (steps, pieceBytes) => {
        const verdict = await verifyText(
          await bundleOf(makeChains(steps)),
          { key: KEYS.publicText },
          pieceBytes,
        );
        const records = steps.reduce((sum, each) => sum + each.length + 1, 0);
        expect(verdict).toMatchObject({ ok: true, report: { records } });
      }),
      { numRuns: 50 },
    );
  });

  test('shows of each chain its records, its times, its last head, and how it ended', async () => {
    const verdict = await verifyText(BUNDLE);
    const { hash, signature } = JSON.parse(lineOf(B, 2));
    expect(verdict).toMatchObject({
      ok: true,
      report: {
        key: KEYS.publicText,
        serverId: SERVER_ID,
        exportedMs: START_MS + 900_000,
        records: 15,
        chains: [
          { chain: A, records: 6, closed: true, unsigned: 0, head: { seq: 5 } },
          { chain: B, records: 5, closed: false, unsigned: 2, head: { chain: B, seq: 2, hash, signature } },
          { chain: C, records: 4, closed: false, unsigned: 0, head: { seq: 3 } },
        ],
      },
    });
    const [first] = verdict.ok ? verdict.report.chains : [];
    expect([first?.firstMs, first?.lastMs]).toEqual([START_MS + 1_000, START_MS + 1_005]);
  });

  test('holds when it is read from a file, and so do the chains of a store', async () => {
    const path = join(tempFolder(), 'bundle.jsonl');
    writeFileSync(path, BUNDLE);
    expect(await verifyBundle(bundleFile(path))).toEqual(await verifyText(BUNDLE));
    const verdict = await verifyStore(sourceOf(CHAINS), { key: KEYS.publicText });
    expect(verdict).toMatchObject({ ok: true, report: { records: 15, key: KEYS.publicText } });
  });

  test('holds without any chain, and with thousands', async () => {
    expect(await verifyText(await bundleOf(new Map()))).toMatchObject({ ok: true, report: { records: 0 } });
    const many: Chains = new Map();
    const open = (id: string) => {
      const chain = openChain({
        id,
        serverId: SERVER_ID,
        key: KEYS,
        links: lastsOf(many),
        now: () => START_MS,
      });
      return chain.take()?.lines ?? '';
    };
    const lines = Array.from({ length: 1_000 }, (_, i) => `chain-${String(i).padStart(4, '0')}`).map(
      (id) => [id, open(id)] as const,
    );
    for (const [id, line] of lines) many.set(id, line);
    many.set('chain-last', open('chain-last'));
    expect(await verifyText(await bundleOf(many))).toMatchObject({ ok: true, report: { records: 1_001 } });
  });
});

describe('a bundle in which one thing was changed', () => {
  test('is caught at any byte, and the record is named', async () => {
    const bytes = Buffer.from(BUNDLE);
    const starts = ENDS.map((end, index) => end - (LINES[index]?.text.length ?? 0) - 1);
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(change, async ([offset, bits]) => {
        const changed = Buffer.from(bytes);
        changed[offset] = (changed[offset] ?? 0) ^ bits;
        const found = await findingIn(changed);
        const index = starts.findLastIndex((start) => start <= offset);
        expect({ chain: found.chain, seq: found.seq }).toEqual(nameOf(index));
      }),
      { numRuns: 1_000 },
    );
  });

  test('is caught when a record was removed, and the record is named', async () => {
    for (let index = 1; index < LINES.length - 1; index++) {
      const found = await findingIn(textOf(LINES.toSpliced(index, 1)));
      expect({ ...found, index }).toMatchObject({ problem: 'missing', index, ...nameOf(index) });
    }
  });

  test('is caught when two records changed places, and the first of them is named', async () => {
    await fc.assert(
      fc.asyncProperty(indexOfRecord, indexOfRecord, async (one, other) => {
        fc.pre(one !== other);
        const [first, second] = [Math.min(one, other), Math.max(one, other)];
        const swapped = [...LINES];
        [swapped[first], swapped[second]] = [swapped[second], swapped[first]] as [never, never];
        const found = await findingIn(textOf(swapped));
        expect(found).toMatchObject({ problem: 'out_of_order', ...nameOf(first) });
      }),
      { numRuns: 200 },
    );
  });

  test('is caught when a record stands there twice', async () => {
    await fc.assert(
      fc.asyncProperty(indexOfRecord, fc.nat(LINES.length), async (index, place) => {
        const doubled = LINES.toSpliced(place, 0, LINES[index] ?? bare(''));
        await findingIn(textOf(doubled));
        const inPlace = await findingIn(textOf(LINES.toSpliced(index, 0, LINES[index] ?? bare(''))));
        expect(inPlace).toMatchObject({ problem: 'twice', ...nameOf(index) });
      }),
      { numRuns: 200 },
    );
  });

  test('is caught when it is cut off, at any byte, and the record is named', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(BUNDLE.length - 1), async (length) => {
        const found = await findingIn(BUNDLE.slice(0, length));
        const index = ENDS.findIndex((end) => end > length);
        expect(found.problem).toBe(index === 0 ? 'not_a_bundle' : 'cut_off');
        if (index === 0) return;
        const isBetween = length === ENDS[index - 1];
        const { chain, seq } = found;
        if (isBetween || index === LINES.length - 1) return;
        // Which chain a cut first record belongs to, nobody can tell.
        if (nameOf(index).seq !== 0) expect({ chain, seq }).toEqual(nameOf(index));
      }),
      { numRuns: 500 },
    );
  });

  test('is caught when it ends after a record, which is named', async () => {
    expect(await findingIn(textOf(LINES.slice(0, at(B, 3) + 1)))).toMatchObject({
      problem: 'cut_off',
      chain: B,
      seq: 3,
      message: expect.stringContaining('the last line of the bundle is missing'),
    });
  });

  test('is caught when a record was cut within its line', async () => {
    const cut = lineOf(A, 2).slice(0, 150);
    expect(await findingIn(withLine(at(A, 2), cut))).toMatchObject({ problem: 'cut_off', chain: A, seq: 2 });
  });

  test('is caught when a line is no JSON, or too long', async () => {
    expect(await findingIn(withLine(at(B, 1), 'hello'))).toMatchObject({
      problem: 'not_json',
      chain: B,
      seq: 1,
    });
    const long = lineOf(B, 1) + ' '.repeat(AUDIT_LIMITS.maxLineBytes);
    expect(await findingIn(withLine(at(B, 1), long))).toMatchObject({
      problem: 'too_long',
      chain: B,
      seq: 1,
    });
  });
});

describe('a bundle that was changed by somebody who can write hashes', () => {
  test('is caught at the record whose hash the next one does not know', async () => {
    const forged = rehashed(lineOf(A, 1), 'alice', 'carol');
    expect(await findingIn(withLine(at(A, 1), forged))).toMatchObject({
      problem: 'changed',
      chain: A,
      seq: 1,
    });
  });

  test('is caught at the last record of a chain, or the one before', async () => {
    const chains = makeChains([[CALL, CALL, CALL]]);
    const lines = linesOf(await bundleOf(chains));
    const [chain] = chains.keys();
    for (const seq of [2, 3]) {
      const forged = rehashed(lines[seq + 1]?.text ?? '', 'alice', 'carol');
      const found = await findingIn(textOf(lines.toSpliced(seq + 1, 1, bare(forged))));
      expect(found).toMatchObject({ problem: 'changed', chain, seq });
    }
  });

  test('is caught at the next head when all hashes up to it were written anew', async () => {
    const forged = rehashed(lineOf(A, 2), 'alice', 'carol');
    const { prev, hash: old } = JSON.parse(lineOf(A, 2));
    expect(prev).not.toBe(old);
    const head = rehashed(lineOf(A, 3), old, JSON.parse(forged).hash);
    const lines = LINES.toSpliced(at(A, 2), 2, bare(forged), bare(head));
    expect(await findingIn(textOf(lines))).toMatchObject({ problem: 'head_signature', chain: A, seq: 3 });
  });

  test('is caught when the signature of a head is another spelling of the same bytes', async () => {
    const { signature } = JSON.parse(lineOf(B, 2));
    const other = { A: 'B', Q: 'R', g: 'h', w: 'x' }[String(signature).slice(-1)] ?? '';
    const forged = rehashed(lineOf(B, 2), signature, `${signature.slice(0, -1)}${other}`);
    expect(await findingIn(withLine(at(B, 2), forged))).toMatchObject({
      problem: 'head_signature',
      chain: B,
      seq: 2,
    });
  });

  test('is caught when a record was added after its export', async () => {
    const added = rehashed(lineOf(B, 4), JSON.parse(lineOf(B, 4)).prev, JSON.parse(lineOf(B, 4)).hash);
    const next = rehashed(added, '"seq":4', '"seq":5');
    const found = await findingIn(textOf(LINES.toSpliced(at(B, 4) + 1, 0, bare(next))));
    expect(found).toMatchObject({ problem: 'added', chain: B, seq: 5 });
  });
});

describe('chains', () => {
  const without = (chain: string) => textOf(LINES.filter((line) => line.chain !== chain));

  test.each([[A], [B], [C]])('one that was removed from a bundle is missed: %s', async (chain) => {
    expect(await findingIn(without(chain))).toMatchObject({ problem: 'missing', chain, seq: null });
  });

  test('one that was removed from the store is missed by those that link to it', async () => {
    const rest = new Map([...CHAINS].filter(([id]) => id !== A));
    const missing = { problem: 'missing', chain: A, seq: null };
    expect(await findingIn(await bundleOf(rest))).toMatchObject(missing);
    expect(await verifyStore(sourceOf(rest))).toMatchObject({ ok: false, finding: missing });
  });

  test('one that is shorter than a later one has seen it is caught, though nothing was signed there', async () => {
    const short = new Map(CHAINS).set(
      B,
      textOf(LINES.filter(({ chain, seq }) => chain === B && (seq ?? 0) < 3)),
    );
    const missing = { problem: 'missing', chain: B, seq: 3 };
    expect(await findingIn(await bundleOf(short))).toMatchObject(missing);
    expect(await verifyStore(sourceOf(short))).toMatchObject({ ok: false, finding: missing });
  });

  test('one whose unsigned end was written anew is caught by the link of a later one', async () => {
    const forged = `${rehashed(lineOf(B, 4), 'bob', 'carol')}\n`;
    const changed = new Map(CHAINS).set(
      B,
      (CHAINS.get(B) ?? '').replace(`${lineOf(B, 4)}\n`, () => forged),
    );
    const found = { problem: 'not_linked', chain: B, seq: 4 };
    expect(await findingIn(await bundleOf(changed))).toMatchObject(found);
    expect(await verifyStore(sourceOf(changed))).toMatchObject({ ok: false, finding: found });
  });

  test('a link to one that stands later, as clocks that differ make it, is followed too', async () => {
    const open = (id: string, links: readonly Link[]) => {
      const chain = openChain({ id, serverId: SERVER_ID, key: KEYS, links, now: () => START_MS });
      return chain.take()?.lines ?? '';
    };
    const late: Chains = new Map([['late', open('late', [])]]);
    const early = open('early', lastsOf(late));
    expect(await verifyText(await bundleOf(new Map(late).set('early', early)))).toMatchObject({ ok: true });
    const wrong = open('early', [{ chain: 'late', seq: 0, hash: CALL.reply }]);
    const found = { problem: 'not_linked', chain: 'late', seq: 0 };
    expect(await findingIn(await bundleOf(new Map(late).set('early', wrong)))).toMatchObject(found);
  });

  test('one that was added is named', async () => {
    const [[id = '', lines = ''] = []] = makeChains([[CALL]]);
    const end = LINES.length - 1;
    const added = textOf([...LINES.slice(0, end), ...lines.trimEnd().split('\n'), ...LINES.slice(end)]);
    expect(await findingIn(added)).toMatchObject({ problem: 'added', chain: id, seq: null });
  });

  test('two that changed places are out of order', async () => {
    const of = (chain: string) => LINES.filter((line) => line.chain === chain);
    const [start = bare(''), end = bare('')] = LINES.filter(({ chain }) => chain === null);
    const turned = textOf([start, ...of(B), ...of(A), ...of(C), end]);
    expect(await findingIn(turned)).toMatchObject({ problem: 'out_of_order', chain: A, seq: 0 });
  });

  test('one that does not begin with `open` is named', async () => {
    const headless = new Map(CHAINS).set(
      C,
      textOf(LINES.filter(({ chain, seq }) => chain === C && seq !== 0)),
    );
    const found = { problem: 'missing', chain: C, seq: 0 };
    expect(await verifyStore(sourceOf(headless))).toMatchObject({ ok: false, finding: found });
    expect(await findingIn(await bundleOf(headless))).toMatchObject(found);
  });

  test('one that goes on after `close` is named', async () => {
    const { hash } = JSON.parse(lineOf(A, 5));
    const { prev } = JSON.parse(lineOf(A, 4));
    const after = rehashed(rehashed(lineOf(A, 4), prev, hash), '"seq":4', '"seq":6');
    const chains = new Map(CHAINS).set(A, `${CHAINS.get(A) ?? ''}${after}\n`);
    expect(await findingIn(await bundleOf(chains))).toMatchObject({
      problem: 'after_close',
      chain: A,
      seq: 6,
    });
    const found = { problem: 'after_close', chain: A, seq: 6 };
    expect(await verifyStore(sourceOf(chains))).toMatchObject({ ok: false, finding: found });
  });

  test('a store in which one byte was changed is caught, and the record is named', async () => {
    const index = fc.nat(LINES.length - 3).map((nth) => nth + 1);
    await fc.assert(
      fc.asyncProperty(index, fc.nat(), async (nth, offset) => {
        const { chain, text = '' } = LINES[nth] ?? {};
        const place = offset % text.length;
        const changed = `${text.slice(0, place)}${text[place] === '~' ? '}' : '~'}${text.slice(place + 1)}`;
        const chains = new Map(CHAINS);
        chains.set(
          chain ?? '',
          (CHAINS.get(chain ?? '') ?? '').replace(text, () => changed),
        );
        expect(await verifyStore(sourceOf(chains))).toMatchObject({ ok: false, finding: nameOf(nth) });
        expect(await findingIn(await bundleOf(chains))).toMatchObject(nameOf(nth));
      }),
      { numRuns: 300 },
    );
  });
});

describe('records that no head follows', () => {
  const LONG_MS = AUDIT_LIMITS.maxUnsignedMs + 1;

  /** One chain, whose steps come so many milliseconds apart. */
  function apart(stepMs: number, steps: readonly Step[]): Chains {
    let ms = START_MS - stepMs;
    const now = () => (ms += stepMs);
    const chain = openChain({ id: 'one', serverId: SERVER_ID, key: KEYS, links: [], now });
    for (const step of steps) doStep(chain, step);
    return new Map([['one', chain.take()?.lines ?? '']]);
  }

  test.each([
    ['of a whole chain, which nobody needs a key for', 1_000, Array.from({ length: 200 }, () => CALL), 0],
    [
      'behind a head, whatever was there before',
      1_000,
      ['head', ...Array.from({ length: 200 }, () => CALL)],
      2,
    ],
    ['that go back in time', -1_000, ['head', ...Array.from({ length: 200 }, () => CALL)], 2],
    ['of which one stands far off', LONG_MS, [CALL, 'head', CALL], 3],
  ] as const)(
    'are not believed for longer than a process waits: those %s',
    async (_what, stepMs, steps, seq) => {
      const chains = apart(stepMs, steps);
      const found = { problem: 'unsigned', chain: 'one', seq };
      // Whoever exports signs the bundle, and has not looked at it.
      expect(await findingIn(await bundleOf(chains), { key: KEYS.publicText })).toMatchObject(found);
      expect(await verifyStore(sourceOf(chains))).toMatchObject({ ok: false, finding: found });
    },
  );

  test('are those of a process that died, if there was no time for one; what a head follows may lie far apart', async () => {
    for (const [stepMs, steps] of [
      [LONG_MS, [CALL, CALL, 'head']],
      [LONG_MS - 1, ['head', CALL]],
      [1, [CALL, CALL, CALL]],
    ] as const)
      expect(await verifyText(await bundleOf(apart(stepMs, steps)))).toMatchObject({ ok: true });
  });
});

describe('the key', () => {
  test('of a bundle that somebody else signed anew is shown, and caught when another is expected', async () => {
    const forged = await bundleOf(makeChains([[CALL, 'head']], OTHER), OTHER);
    expect(await verifyText(forged)).toMatchObject({ ok: true, report: { key: OTHER.publicText } });
    const verdict = await verifyText(forged, { key: KEYS.publicText });
    expect(verdict).toMatchObject({ ok: false, key: OTHER.publicText, finding: { problem: 'wrong_key' } });
  });

  test('must be that of the bundle in every chain', async () => {
    const mixed = new Map([...makeChains([[CALL]], OTHER)]);
    const [id] = mixed.keys();
    expect(await findingIn(await bundleOf(mixed))).toMatchObject({ problem: 'wrong_key', chain: id, seq: 0 });
    const verdict = await verifyStore(sourceOf(mixed), { key: KEYS.publicText });
    expect(verdict).toMatchObject({ ok: false, finding: { problem: 'wrong_key', chain: id } });
  });

  test('that was not used for a bundle is no help: nothing of it was signed with it', async () => {
    const start = LINES[0]?.text.replace(KEYS.publicText, OTHER.publicText) ?? '';
    expect(await findingIn(withLine(0, start))).toMatchObject({ problem: 'wrong_key', chain: A, seq: 0 });
  });
});

describe('the last line', () => {
  test.each([
    ['counts other records', '"records":6', '"records":5'],
    ['is signed otherwise', '"signature":"ed25519:', '"signature":"ed25518:'],
    ['leaves a chain out', /\{"chain":[^}]*\},/, ''],
  ])('is caught when it %s', async (_what, from, to) => {
    const end = LINES.at(-1)?.text.replace(from, to) ?? '';
    expect(await findingIn(withLine(LINES.length - 1, end))).toMatchObject({
      problem: 'wrong_end',
      chain: null,
    });
  });

  test('covers the first', async () => {
    const start = LINES[0]?.text.replace(SERVER_ID, 'evil') ?? '';
    expect(await findingIn(withLine(0, start))).toMatchObject({
      problem: 'wrong_end',
      chain: null,
      seq: null,
    });
  });

  test('is the last', async () => {
    const end = LINES.at(-1)?.text ?? '';
    expect(await findingIn(textOf([...LINES, end]))).toMatchObject({ problem: 'wrong_end' });
    expect(await findingIn(`${BUNDLE}x`)).toMatchObject({ problem: 'cut_off', chain: null });
    expect(await findingIn(BUNDLE.slice(0, -1))).toMatchObject({ problem: 'cut_off', chain: null });
  });
});

test.each([
  ['nothing', ''],
  ['words', 'hello\n'],
  ['a record', `${lineOf(A, 0)}\n`],
  ['a first line with a mistyped key', BUNDLE.replace(KEYS.publicText, `${KEYS.publicText.slice(0, -1)}x`)],
])('%s is no bundle', async (_what, text) => {
  expect(await findingIn(text)).toMatchObject({ problem: 'not_a_bundle', chain: null, seq: null });
});
