import { createSecretKey } from 'node:crypto';
import { openMaster } from '../../src/server/clients/master-key.ts';
import { openKeyRing } from '../../src/server/clients/key-ring.ts';
import { addClient } from '../../src/server/clients/clients.ts';
import type { Caller } from '../../src/server/registry.ts';
import { createSealer, type Sealer } from '../../src/server/clients/sealer.ts';
import { type ClientRecord, OPEN_TERMS, openClientStore, type RecordStore } from '../../src/store/index.ts';
import { START_MS } from './clock.ts';
import { createTestLog } from './log.ts';

/** Of a store that no server opens. */
export const TEST_SEALER: Sealer = createSealer(createSecretKey(Buffer.from('a master key for tests only')));

/** A client as a store keeps it, with the defaults of one that was just added. */
export function clientRecord(id: string, members: Partial<ClientRecord> = {}): ClientRecord {
  return {
    id,
    algorithm: 'hmac-sha256',
    keys: [{ request: 'q', response: 'p' }],
    tokenHashes: [],
    terms: OPEN_TERMS,
    revokedMs: null,
    createdMs: START_MS,
    revision: 0,
    ...members,
  };
}

/** The clients of a data folder with the master key of its own, as a program beside its server has them. */
export async function openDesk(dir: string, serverId?: string) {
  const store = openClientStore({ dir, serverId });
  const { sealer } = await openMaster(store.clients, undefined, dir);
  return { store, sealer };
}

/** A client that is added, as the server knows it while it calls a tool. */
export async function callerOf(store: RecordStore, id: string): Promise<Caller> {
  await addClient({ store, sealer: TEST_SEALER }, { id, url: 'http://127.0.0.1:9/call' });
  const ring = await openKeyRing(store, TEST_SEALER, createTestLog());
  ring.stop();
  const client = ring.find(id);
  if (client === null) throw new Error(`the ring has no client ${id}`);
  const [generation] = client.generations;
  return { client, generation, signal: new AbortController().signal };
}
