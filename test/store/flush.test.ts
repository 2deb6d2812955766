import type { NoParamCallback } from 'node:fs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { newJob, newRequest } from './new-records.ts';
import { openStore } from './open.ts';

/** The real flush, held back or refused as the test says. */
const disk = vi.hoisted(() => ({
  held: null as (() => void)[] | null,
  error: null as Error | null,
  flushes: 0,
}));

vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  return {
    ...fs,
    fdatasync(file: number, done: NoParamCallback) {
      disk.flushes++;
      const { error } = disk;
      const flush = () => (error === null ? fs.fdatasync(file, done) : setImmediate(done, error));
      if (disk.held === null) flush();
      else disk.held.push(flush);
    },
  };
});

function release(): void {
  const held = disk.held ?? [];
  disk.held = null;
  for (const flush of held) flush();
}

afterEach(() => {
  disk.error = null;
  release();
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

function watch(promise: Promise<unknown>): { state: 'pending' | 'fulfilled' | 'rejected' } {
  const watched: ReturnType<typeof watch> = { state: 'pending' };
  promise.then(
    () => (watched.state = 'fulfilled'),
    () => (watched.state = 'rejected'),
  );
  return watched;
}

describe('a promise resolves when what it tells would survive a power cut', () => {
  test('a write waits for the disk, and so does each read that saw it', async () => {
    const store = openStore();
    await store.ping();
    disk.held = [];
    const job = newJob();
    const write = watch(store.jobs.create(job));
    const early = watch(store.jobs.get(job.id));
    await turns(5);
    const late = watch(store.jobs.get(job.id));
    await turns(5);
    expect([write.state, early.state, late.state]).toEqual(['pending', 'pending', 'pending']);
    release();
    await store.ping();
    expect([write.state, early.state, late.state]).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
  });

  test('listeners and waiters hear of a change when it is on disk, not before', async () => {
    const store = openStore();
    const job = newJob();
    await store.jobs.create(job);
    const { revision } = (await store.jobs.get(job.id)) ?? { revision: 0 };
    const heard: string[] = [];
    store.jobs.onChange((_id, state) => heard.push(state));
    disk.held = [];
    const changed = watch(store.jobs.changed(job.id, revision, new AbortController().signal));
    const begun = store.jobs.begin(job.id, 1);
    await turns(5);
    expect([changed.state, heard]).toEqual(['pending', []]);
    release();
    await begun;
    expect([changed.state, heard]).toEqual(['fulfilled', ['running']]);
  });

  test('turns that end while the disk works share the next flush', async () => {
    const store = openStore();
    await store.ping();
    disk.held = [];
    disk.flushes = 0;
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      writes.push(store.requests.claim(newRequest()));
      await turns(2);
    }
    release();
    await Promise.all(writes);
    expect(disk.flushes).toBe(2);
  });

  test('close waits for what is pending', async () => {
    const store = openStore();
    disk.held = [];
    const write = store.jobs.create(newJob());
    const closed = store.close();
    await write;
    await closed;
  });
});

describe('a disk that fails to flush', () => {
  test('rejects all that waited for it, and nothing more is promised or told', async () => {
    const store = openStore();
    const { dir } = store;
    const before = newJob();
    await store.jobs.create(before);
    disk.error = new Error('EIO: i/o error');
    disk.held = [];
    const lost = newJob();
    const pending = [watch(store.jobs.create(lost)), watch(store.jobs.get(lost.id))];
    await turns(3);
    pending.push(watch(store.requests.claim(newRequest())), watch(store.jobs.get(before.id)));
    await turns(3);
    disk.error = null;
    release();
    await expect(store.ping()).rejects.toThrow('restart');
    await turns(3);
    expect(pending.map(({ state }) => state)).toEqual(Array.from({ length: 4 }, () => 'rejected'));
    await expect(store.jobs.create(newJob())).rejects.toThrow('restart');
    await expect(store.jobs.get(lost.id)).rejects.toThrow('restart');
    await store.close();
    expect(await openStore({ dir }).jobs.get(before.id)).not.toBeNull();
  });
});
