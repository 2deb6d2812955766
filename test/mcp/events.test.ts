import { describe, expect, test } from 'vitest';
import { createEvents, type Events } from '../../src/mcp/events.ts';
import { whenAborted } from '../../src/mcp/exchange.ts';
import { reporterFor } from '../../src/mcp/progress.ts';
import fc from 'fast-check';
import { getEventListeners } from 'node:events';

async function all(events: Events): Promise<string[]> {
  const texts: string[] = [];
  for await (const text of events) texts.push(text);
  return texts;
}

describe('a stream of events', () => {
  test('gives what was told before and while it is read, in order, and then the last', async () => {
    const events = createEvents();
    events.push('1');
    const reading = all(events);
    events.push('2');
    await new Promise(setImmediate);
    events.push('3');
    events.end('last');
    expect(await reading).toEqual(['1', '2', '3', 'last']);
  });

  test('begins with the first text, whichever it is', async () => {
    const events = createEvents();
    events.end('last');
    await events.begun;
    expect(await all(events)).toEqual(['last']);
  });

  test('takes nothing after the last', async () => {
    const events = createEvents();
    events.end('last');
    events.push('late');
    events.end('later');
    expect(await all(events)).toEqual(['last']);
  });

  test('keeps only the newest for a reader that is slow, and always the last', async () => {
    const events = createEvents();
    for (let i = 0; i < 10_000; i++) events.push(String(i));
    events.end('last');
    const texts = await all(events);
    expect(texts).toHaveLength(65);
    expect(texts.slice(-2)).toEqual(['9999', 'last']);
  });

  test('keeps what was told first and the newest about each thing, however many there are', async () => {
    const events = createEvents();
    events.push('begin');
    for (let round = 0; round < 3; round++)
      for (let i = 0; i < 100; i++) events.push(`${i}:${round}`, `task-${i}`);
    events.end('last');
    expect(await all(events)).toEqual(['begin', ...Array.from({ length: 100 }, (_, i) => `${i}:2`), 'last']);
  });
});

describe('progress as notifications', () => {
  const told = (token: string | number | null) => {
    const sent: { progress: number; total?: number; message?: string }[] = [];
    const report = reporterFor(token, (method, params) => {
      expect(method).toBe('notifications/progress');
      expect(params['progressToken']).toBe(token);
      sent.push(JSON.parse(JSON.stringify(params)));
    });
    return { sent, report };
  };

  test('rises with each, whatever a tool reports', () => {
    const number = fc.oneof(fc.double(), fc.constantFrom(0, 1, 1e13, 2 ** 53, -5, 1e300));
    fc.assert(
      fc.property(fc.array(number, { minLength: 2 }), (values) => {
        const { sent, report } = told('t');
        for (const completed of values) report({ completed, total: completed });
        const finite = values.filter(Number.isFinite);
        expect(sent.length > 0).toBe(finite.length > 0);
        for (const [i, { progress, total }] of sent.entries()) {
          expect(Number.isFinite(progress)).toBe(true);
          expect(Number(total)).toBeGreaterThanOrEqual(progress);
          if (i > 0) expect(progress).toBeGreaterThan(Number(sent[i - 1]?.progress));
        }
      }),
    );
  });

  test('shows the values of a tool that rise by themselves as they are', () => {
    const { sent, report } = told(0);
    report({ completed: 0, total: 10, message: 'begin' });
    report({ completed: 5, total: 10 });
    report({ completed: 10 });
    expect(sent).toEqual([
      { progressToken: 0, progress: 0, total: 10, message: 'begin' },
      { progressToken: 0, progress: 5, total: 10 },
      { progressToken: 0, progress: 10 },
    ]);
  });

  test('is silent for who did not ask', () => {
    const { sent, report } = told(null);
    report({ completed: 1 });
    expect(sent).toEqual([]);
  });

  test('shortens a message that is a book', () => {
    const { sent, report } = told('t');
    report({ completed: 1, message: 'x'.repeat(1_000_000) });
    expect(sent[0]?.message?.length).toBeLessThan(10_000);
  });
});

describe('waiting for one of several signals', () => {
  test('ends with the first, and leaves no listener on the others', async () => {
    const [request, server] = [new AbortController(), new AbortController()];
    const ended = whenAborted(request.signal, server.signal);
    request.abort();
    await ended;
    expect(getEventListeners(server.signal, 'abort')).toEqual([]);
    expect(getEventListeners(request.signal, 'abort')).toEqual([]);
  });

  test('ends at once if one has aborted, and listens to none', async () => {
    const server = new AbortController();
    await whenAborted(AbortSignal.abort(), server.signal);
    expect(getEventListeners(server.signal, 'abort')).toEqual([]);
  });
});
