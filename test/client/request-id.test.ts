import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidv7 } from '../../src/client/request-id.ts';

const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });

describe('request_id by default', () => {
  it('is a UUID of version 7 and of the variant of RFC 9562', () => {
    fc.assert(
      fc.property(time, (nowMs) => {
        expect(uuidv7(nowMs)).toMatch(
          /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
        );
      }),
    );
  });

  it('begins with the time in 48 bits', () => {
    fc.assert(
      fc.property(time, (nowMs) => {
        expect(Number.parseInt(uuidv7(nowMs).replaceAll('-', '').slice(0, 12), 16)).toBe(nowMs);
      }),
    );
  });

  it('is ordered by time as text', () => {
    fc.assert(
      fc.property(time, time, (a, b) => {
        fc.pre(a !== b);
        expect(uuidv7(a) < uuidv7(b)).toBe(a < b);
      }),
    );
  });

  it('of a clock that tells fractions counts whole milliseconds', () => {
    expect(uuidv7(1_800_000_000_000.9).slice(0, 13)).toBe(uuidv7(1_800_000_000_000).slice(0, 13));
  });

  it('is new every time', () => {
    const ids = new Set(Array.from({ length: 10_000 }, () => uuidv7(1_800_000_000_000)));
    expect(ids.size).toBe(10_000);
  });
});
