import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import fixtureTools from '../../conformance/fixture-tools.ts';
import exampleTools from '../../src/cli/serve/example-tools.ts';
import { CODES, codeOf, factsOf } from '../../src/errors/index.ts';

interface Expected {
  readonly http: number;
  readonly signed: boolean;
  readonly ok?: boolean;
  readonly status?: string;
  readonly code?: string;
}

interface StepCase {
  readonly name: string;
  readonly code?: string;
  readonly needs?: readonly string[];
  readonly steps: readonly {
    readonly send?: { readonly tool?: string };
    readonly expect: Expected | readonly Expected[];
  }[];
}

const BUILT_IN = ['server_identity', 'list_tools', 'poll_job', 'cancel_job', 'list_jobs'];
// Their names are there so that no server has them.
const NO_TOOLS = ['conformance/no-such-tool', '__proto__', 'constructor'];

const folder = new URL('../../conformance/', import.meta.url);
const readme = readFileSync(new URL('README.md', folder), 'utf8');

/** The cases are ours; a file of another shape fails the tests below. */
function read(file: string): readonly StepCase[] {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')).cases;
}

const errors = read('errors.json');
const calls = read('calls.json');
const expectations = (one: StepCase): Expected[] => one.steps.flatMap(({ expect: wanted }) => wanted);

test('errors.json shows every code of the table, and no other', () => {
  expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(Object.keys(CODES)));
});

describe.each([...errors, ...calls])('$name', (one) => {
  test('expects what the table of codes says', () => {
    for (const { http, signed, ok = false, status, code } of expectations(one)) {
      if (ok) {
        expect(http).toBe(status === 'accepted' ? 202 : 200);
        expect(signed).toBe(true);
      } else {
        const known = codeOf(code ?? '');
        expect(known).not.toBeNull();
        const facts = factsOf(known ?? 'internal');
        expect({ http, signed }).toEqual({ http: facts.httpStatus, signed: facts.signed });
      }
    }
  });

  test('shows the code that it is there for', () => {
    // In a job, internal is the message of job_failed.
    const shown = one.name === 'internal, in a job' ? 'job_failed' : one.code;
    if (one.code !== undefined) expect(expectations(one).map(({ code }) => code)).toContain(shown);
    expect(expectations(one).length).toBeGreaterThan(0);
  });

  test('names every tool that it needs', () => {
    const called = one.steps.flatMap(({ send }) => send?.tool ?? []);
    const needed = called.filter((tool) => ![...BUILT_IN, ...NO_TOOLS].includes(tool));
    expect(new Set(one.needs)).toEqual(new Set(needed));
  });
});

test('names each case once', () => {
  for (const cases of [errors, calls]) {
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  }
});

test('every tool that a case needs is a fixture or an example, and every fixture is needed', () => {
  const fixtures = fixtureTools.map(({ name }) => name);
  const examples = exampleTools.map(({ name }) => name);
  const needed = new Set([...errors, ...calls].flatMap(({ needs = [] }) => needs));
  expect([...needed].filter((name) => ![...fixtures, ...examples].includes(name))).toEqual([]);
  // The vectors of canonical.json go through the echo.
  expect(fixtures.filter((name) => name !== 'conformance/echo' && !needed.has(name))).toEqual([]);
});

test('README.md describes every fixture, and no other', () => {
  const described = [...readme.matchAll(/^\| `(conformance\/[a-z_]+)` \|/gm)].map(([, name = '']) => name);
  expect(described.toSorted()).toEqual(fixtureTools.map(({ name }) => name).toSorted());
});
