import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Screen } from '../../src/cli/output.ts';
import { barOf, describe as describeProgress, progressView } from '../../src/cli/progress-view.ts';

/** What a terminal, or a file, was given. */
function screen(isTTY: boolean, columns = 80): { stream: Screen; text: () => string } {
  let text = '';
  const write = (chunk: unknown) => {
    text += String(chunk);
    return true;
  };
  return { stream: { isTTY, columns, write, hasColors: () => false }, text: () => text };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the progress of a job', () => {
  test('is a bar of one width, from empty to full, however odd the numbers', () => {
    expect(barOf(null)).toBe('░'.repeat(24));
    expect(barOf({ completed: 7 })).toBe('░'.repeat(24));
    expect(barOf({ completed: 1, total: 2 })).toBe('█'.repeat(12) + '░'.repeat(12));
    expect(barOf({ completed: 9, total: 9 })).toBe('█'.repeat(24));
    const number = fc.oneof(fc.integer(), fc.double());
    fc.assert(
      fc.property(number, number, (completed, total) => {
        expect(barOf({ completed, total })).toMatch(/^█*[▏▎▍▌▋▊▉]?░*$/);
        expect(barOf({ completed, total })).toHaveLength(24);
      }),
    );
  });

  test('is said in words as far as it is known, and cannot steer the terminal', () => {
    expect(describeProgress(null)).toBe('');
    expect(describeProgress({ completed: 3 })).toBe(' 3');
    expect(describeProgress({ completed: 1, total: 3 })).toBe(' 33 % (1/3)');
    expect(describeProgress({ completed: 1, total: 3, message: 'a\n\u001b[2Jb' })).toBe(
      ' 33 % (1/3) a ?[2Jb',
    );
  });

  test('is a line at a change of state and at most one a second where there is no terminal', () => {
    const { stream, text } = screen(false);
    const view = progressView(stream);
    view.update('queued', null);
    for (let completed = 0; completed < 50; completed++) view.update('running', { completed, total: 50 });
    view.update('succeeded', null);
    view.end();
    expect(text()).toBe('queued\nrunning 0 % (0/50)\nsucceeded\n');
  });

  test('is one line of a terminal that is drawn again and taken away at the end', () => {
    const { stream, text } = screen(true, 40);
    const view = progressView(stream, '  ');
    view.update('running', { completed: 1, total: 4, message: 'a message that is too long for it' });
    view.end();
    const drawn = text().split('\r\u001b[2K');
    expect(drawn).toHaveLength(3);
    expect(drawn[1]).toMatch(/^ {2}running ██████░+.* {2}0\.0 s$/);
    expect(drawn[1]?.length).toBeLessThan(40);
    expect(drawn[2]).toBe('');
  });
});
