import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { clientRecord } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { newJob, newRequest } from './new-records.ts';
import { openStore } from './open.ts';

describe.skipIf(!canLimitFiles)('a store on a full disk', () => {
  test('rejects what it cannot write, keeps what it has, and goes on when there is room', async () => {
    const store = openStore();
    const { dir } = store;
    const kept = newJob();
    await store.jobs.create(kept);
    const attempt = await store.jobs.begin(kept.id, START_MS);
    if (attempt === null) throw new Error('did not begin');

    const allow = limitFiles(statSync(join(dir, 'waybill.db-wal')).size);
    const lost = newJob();
    const request = newRequest();
    for (let turn = 0; turn < 3; turn++) {
      const writes = [
        store.jobs.create(lost),
        store.requests.claim(request),
        store.jobs.progress(attempt.fence, { completed: 1 }, START_MS),
        store.clients.add(clientRecord('a')),
      ];
      for (const end of await Promise.allSettled(writes)) {
        expect(end.status === 'rejected' && end.reason).toBeInstanceOf(StoreError);
      }
      expect(await store.jobs.get(lost.id)).toBeNull();
      expect(await store.requests.find(request.clientId, request.requestId)).toBeNull();
      expect(await store.jobs.get(kept.id)).toMatchObject({ state: 'running', progress: null });
      expect(await store.clients.list()).toEqual([]);
    }
    allow();

    expect((await store.jobs.create(lost)).outcome).toBe('created');
    expect(await store.jobs.progress(attempt.fence, { completed: 2 }, START_MS)).toBe(true);
    await store.close();
    const reopened = openStore({ dir });
    expect((await reopened.jobs.get(lost.id))?.state).toBe('queued');
    expect((await reopened.jobs.get(kept.id))?.progress).toEqual({ completed: 2 });
    expect(await reopened.requests.find(request.clientId, request.requestId)).toBeNull();
  });
});
