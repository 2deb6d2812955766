import { describe, expect, test } from 'vitest';
import { type Answer, createCaller } from '../support/caller.ts';
import { makeFolder, startServer } from './server-process.ts';

const COPIES = 1_000;

async function start() {
  const folder = makeFolder();
  const { credential } = await folder.addClient('agent-a');
  const { url } = await startServer(folder);
  return { folder, url, caller: createCaller(credential) };
}

function countBy(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code, message } of answers) {
    const name = code ?? message.status;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe('one request, sent many times at once', () => {
  test('1 000 copies of one request run a tool that is not repeatable once, and all get its one outcome', async () => {
    const { folder, url, caller } = await start();
    const args = { text: 'once', busy_ms: 50 };
    // The same request_id, and a nonce of its own for each transmission.
    const send = () => caller.send(url, caller.request('append_line', args, 'one-call'));

    const first = await Promise.all(Array.from({ length: COPIES }, send));
    // Those that met it while it ran were told so, and ask again now that it has ended.
    const waited = first.filter(({ code }) => code === 'in_progress');
    const again = await Promise.all(waited.map(send));

    const { ok = 0, in_progress = 0, ...others } = countBy(first);
    expect(others).toEqual({});
    expect(ok).toBeGreaterThan(0);
    expect(ok + in_progress).toBe(COPIES);
    expect(countBy(again)).toEqual(waited.length > 0 ? { ok: waited.length } : {});
    const answered = [...first, ...again].filter(({ message }) => message.ok);
    expect(answered).toHaveLength(COPIES);
    expect(answered.every(({ signed }) => signed)).toBe(true);
    expect(new Set(answered.map(({ message }) => JSON.stringify(message.result))).size).toBe(1);
    expect(folder.effects()).toEqual(['one-call']);
  });

  test('1 000 copies of one transmission run it once; the other 999 are replayed and get no result', async () => {
    const { folder, url, caller } = await start();
    const bytes = caller.request('append_line', { text: 'once', busy_ms: 50 }, 'one-call');
    const answers = await Promise.all(Array.from({ length: COPIES }, () => caller.send(url, bytes)));
    expect(countBy(answers)).toEqual({ ok: 1, replayed: COPIES - 1 });
    expect(answers.every(({ signed }) => signed)).toBe(true);
    expect(answers.filter(({ message }) => message.result !== null)).toHaveLength(1);
    expect(folder.effects()).toEqual(['one-call']);
  });

  test('1 000 copies of one request start one job, and all get its one job_id', async () => {
    const { url, caller } = await start();
    const args = { text: 'once', steps: 1, step_ms: 1 };
    const copies = Array.from({ length: COPIES }, () => caller.request('work', args, 'one-job'));
    const answers = await Promise.all(copies.map((bytes) => caller.send(url, bytes)));
    expect(countBy(answers)).toEqual({ accepted: COPIES });
    expect(new Set(answers.map(({ message }) => message.result?.['job_id'])).size).toBe(1);
    const list = await caller.send(url, caller.request('list_jobs', {}));
    expect(list.message.result?.['jobs']).toHaveLength(1);
  });
});
