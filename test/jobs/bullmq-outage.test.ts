import { once } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { runChild } from '../support/child.ts';
import { gate } from '../support/gate.ts';
import { type Desk, newJob, openDesk, SERVICES } from './bullmq-desk.ts';
import { openRelay } from './bullmq-relay.ts';

/** Jobs of a consumer in the order of their runs, and how to wait for one. */
function watch({ consume }: Desk) {
  const ids: string[] = [];
  const errors: unknown[] = [];
  const watchers = new Set<() => void>();
  const consumer = consume(
    async (id) => {
      ids.push(id);
      for (const look of watchers) look();
      return 'done';
    },
    { onError: (error) => errors.push(error) },
  );
  return {
    ...consumer,
    ids,
    errors,
    ran(wanted: string): Promise<void> {
      const { opened, open } = gate();
      const look = () => {
        if (ids.includes(wanted)) open();
      };
      watchers.add(look);
      look();
      return opened;
    },
  };
}

/** Pushes until it is taken, as the sweeper does. */
async function pushAtLast({ dispatcher }: Desk, job = newJob()): Promise<string> {
  for (;;) {
    try {
      await dispatcher.push(job, Date.now());
      return job.id;
    } catch (error) {
      expect(error).toBeInstanceOf(StoreError);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function assertRefused({ dispatcher }: Desk): Promise<void> {
  const calls = [
    dispatcher.push(newJob(), Date.now()),
    dispatcher.push(newJob(), Date.now() + 60_000),
    dispatcher.remove(newJob()),
    dispatcher.ping(),
  ];
  for (const outcome of await Promise.allSettled(calls)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(StoreError) });
  }
}

describe.each(SERVICES)('while $name is gone', ({ start, ownTags, tags, url }) => {
  test('calls are refused and workers wait; all goes on when it is back', {
    tags: [...ownTags],
  }, async () => {
    const service = await start();
    onTestFinished(() => service.stop());
    const desk = await openDesk(service.url, { limits: new Map([['narrow', 1]]) });
    const worker = watch(desk);
    await worker.ran(await pushAtLast(desk));
    const waiting = [newJob(), newJob({ tool: 'narrow' })];
    for (const job of waiting) await desk.dispatcher.push(job, Date.now() + 3_000);

    await service.kill();
    await assertRefused(desk);
    await service.restart();
    await worker.ran(await pushAtLast(desk));
    // What was acknowledged before is still there.
    for (const { id } of waiting) await worker.ran(id);
    await worker.stop();
    expect(new Set(worker.ids).size).toBe(worker.ids.length);
    expect(worker.errors.every((error) => error instanceof StoreError)).toBe(true);
    // Each kind of trouble is told once.
    const told = desk.log.complaints.map(({ fields }) => String(fields['err']));
    expect(new Set(told).size).toBe(told.length);
    expect(JSON.stringify([told, worker.errors.map(String)])).not.toContain(new URL(service.url).password);
  });

  test('a run goes on, and its end is told when it is back', { tags: [...ownTags] }, async () => {
    const service = await start();
    onTestFinished(() => service.stop());
    const desk = await openDesk(service.url);
    const [begun, stay] = [gate(), gate()];
    const runs: string[] = [];
    desk.consume(
      async (id) => {
        runs.push(id);
        begun.open();
        await stay.opened;
        return 'done';
      },
      // Longer than it is gone.
      { concurrency: 1, leaseMs: 20_000 },
    );
    const first = newJob();
    await desk.dispatcher.push(first, Date.now());
    await begun.opened;
    await service.kill();
    stay.open();
    await assertRefused(desk);
    await service.restart();
    const next = await pushAtLast(desk);
    while (!runs.includes(next)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(runs).toEqual([first.id, next]);
    // Its end has left the queue: it can be pushed as a new one.
    await desk.dispatcher.push(first, Date.now());
    while (runs.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(runs[2]).toBe(first.id);
  });

  test('a consumer and its dispatcher can be stopped', { tags: [...ownTags] }, async () => {
    const service = await start();
    onTestFinished(() => service.stop());
    const desk = await openDesk(service.url, { limits: new Map([['narrow', 1]]) });
    const [begun, stay] = [gate(), gate()];
    const consumer = desk.consume(async () => {
      begun.open();
      await stay.opened;
      return 'done';
    });
    await pushAtLast(desk);
    await begun.opened;
    await service.kill();
    // One that starts now has never seen it.
    const late = watch(desk);
    stay.open();
    await expect(Promise.all([consumer.stop(), late.stop()])).resolves.toBeDefined();
    await expect(desk.dispatcher.close()).resolves.toBeUndefined();
  });

  test('a consumer that starts meanwhile begins when it is back', { tags: [...ownTags] }, async () => {
    const service = await start();
    onTestFinished(() => service.stop());
    const desk = await openDesk(service.url);
    const id = await pushAtLast(desk);
    await service.kill();
    const worker = watch(desk);
    await assertRefused(desk);
    await service.restart();
    await worker.ran(id);
  });

  test('that it hangs is noticed, and so is that it goes on', { tags: [...ownTags] }, async () => {
    const service = await start();
    onTestFinished(() => service.stop());
    const desk = await openDesk(service.url);
    const worker = watch(desk);
    await worker.ran(await pushAtLast(desk));
    await service.kill('SIGSTOP');
    await assertRefused(desk);
    await service.kill('SIGCONT');
    await worker.ran(await pushAtLast(desk));
  });

  test('that a connection is dead is noticed, though nobody says so', { tags: [...tags] }, async () => {
    const relay = await openRelay(await url());
    const desk = await openDesk(relay.url);
    const worker = watch(desk);
    await worker.ran(await pushAtLast(desk));
    relay.hang();
    await assertRefused(desk);
    // New connections are served, and those there were stay silent: each must be given up from here.
    relay.thaw();
    await worker.ran(await pushAtLast(desk));
  });
});

describe.each(SERVICES)('on $name', ({ tags, url }) => {
  test('a job whose worker was killed runs again elsewhere', { tags: [...tags] }, async () => {
    const where = await url();
    const child = runChild(
      `import { openBullmqDispatcher } from 'DISTjobs/dispatchers/bullmq/dispatcher.js';
      const url = process.argv[1];
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const dispatcher = await openBullmqDispatcher({ url, serverId: 'desk', limits: new Map(), allowVolatileQueue: true, log });
      dispatcher.consume((id) => {
        console.log(id);
        return new Promise(() => {});
      }, { concurrency: 4, leaseMs: 1000, onError() {} });`,
      [where],
    );
    const desk = await openDesk(where);
    const job = newJob();
    await desk.dispatcher.push(job, Date.now());
    expect(await child.line()).toBe(job.id);
    const worker = watch(desk);
    child.process.kill('SIGKILL');
    await once(child.process, 'close');
    await worker.ran(job.id);
  });
});
