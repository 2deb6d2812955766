import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CODES, codeOf, factsOf } from '../../src/errors/index.ts';

const PROTOCOL = new URL('../../../shared/protocol.md', import.meta.url);

/** The codes between two phrases of the normative text, each written as `code` or `code: …`. */
function codesBetween(text: string, from: string, to: string): string[] {
  const start = text.indexOf(from);
  const end = text.indexOf(to, start);
  expect(start).toBeGreaterThan(-1);
  expect(end).toBeGreaterThan(start);
  return [...text.slice(start, end).matchAll(/`([a-z_]+)(?=[:`])/g)].map(([, code]) => code ?? '');
}

describe.skipIf(!existsSync(PROTOCOL))('the codes of the specification (../shared/protocol.md §8)', () => {
  const section = (existsSync(PROTOCOL) ? readFileSync(PROTOCOL, 'utf8') : '').split(/^## /m)[8] ?? '';
  const codes = Object.keys(CODES);

  test('sent before the MAC holds are the unsigned codes of the table, no more and no fewer', () => {
    const unsigned = codesBetween(section, 'There are only these:', 'A client must');
    expect(unsigned).toHaveLength(4);
    expect(codes.filter((code) => !factsOf(codeOf(code) ?? 'internal').signed).toSorted()).toEqual(
      unsigned.toSorted(),
    );
  });

  test('sent after it are the signed codes of the table, no more and no fewer', () => {
    const signed = codesBetween(section, 'After it, signed:', '`invalid_args` puts');
    expect(signed).toHaveLength(15);
    expect(codes.filter((code) => factsOf(codeOf(code) ?? 'too_large').signed).toSorted()).toEqual(
      signed.toSorted(),
    );
  });
});

describe('each code of the table', () => {
  test.each(Object.entries(CODES))('%s has an HTTP status that fits and a meaning', (code, facts) => {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(facts.meaning).toMatch(/^[A-Za-z].*\.$/);
    // A failed job is an answer like any other; all other codes refuse.
    if (code === 'job_failed') expect(facts.httpStatus).toBe(200);
    else expect(facts.httpStatus).toBeGreaterThanOrEqual(400);
    expect(facts.httpStatus).toBeLessThan(600);
  });

  test('that invites a retry is one that §5 or §8 says how to retry', () => {
    const retryable = Object.entries(CODES).filter(([, facts]) => facts.retryable);
    expect(retryable.map(([code]) => code).toSorted()).toEqual(
      ['stale', 'replayed', 'in_progress', 'rate_limited', 'busy'].toSorted(),
    );
  });
});

describe('the code of an error text', () => {
  test.each(Object.keys(CODES))('%s is read from "code: message"', (code) => {
    expect(codeOf(`${code}: something`)).toBe(code);
    expect(codeOf(`${code}: with: colons: inside`)).toBe(code);
    expect(codeOf(`${code}:`)).toBe(code);
    expect(codeOf(code)).toBe(code);
  });

  test.each([
    '',
    ':',
    ': busy',
    'unheard_of: x',
    'Busy: x',
    'busy : x',
    ' busy: x',
    'busyx',
    'constructor: x',
    '__proto__: x',
    'toString',
  ])('"%s" has none', (text) => {
    expect(codeOf(text)).toBeNull();
  });
});
