import { join } from 'node:path';
import { addClient } from '../../src/server/clients/clients.ts';
import { openMaster } from '../../src/server/clients/master-key.ts';
import { openPostgresClients } from '../../src/store/postgres/open.ts';
import type { Credential } from '../../src/transports/index.ts';
import { generateSecret } from '../../src/wire/index.ts';
import { type Service, startPostgres, startRedis } from '../support/services/index.ts';
import { reservePlace } from '../support/services/keeper.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { type Effects, followEffects } from './effects.ts';
import type { Journal } from './journal.ts';
import { type Outages, watchOutages } from './outages.ts';

/** Services of our own, and servers and workers on them, all of them processes. */
export interface World {
  readonly cluster: Cluster;
  readonly outages: Outages;
  /** URL of the database. */
  readonly store: string;
  readonly credentials: readonly Credential[];
  readonly effects: Effects;
  /** Jobs that all workers together run at once. */
  readonly slots: number;
  /** Ends everything and leaves nothing behind. */
  stop(): Promise<void>;
}

export interface WorldOptions {
  readonly replicas: number;
  readonly workers: number;
  readonly redis: boolean;
}

const CLIENTS = ['agent-a', 'agent-b', 'agent-c', 'agent-d'];
/** Jobs at once in each process that runs jobs. */
const CONCURRENCY = 16;

/** @throws when a part of it does not start; then nothing of it is left */
export async function openWorld(options: WorldOptions, journal: Journal): Promise<World> {
  const services = new Map<string, Service>();
  const ends: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  };
  const own = async (name: string, start: () => Promise<Service>) => {
    const service = await start();
    ends.push(() => service.stop());
    services.set(name, service);
  };
  try {
    await own('database', startPostgres);
    if (options.redis) await own('Redis', startRedis);
    const store = services.get('database')?.url ?? '';
    const queue = services.get('Redis')?.url ?? store;
    const masterKey = generateSecret();
    const credentials = await addClients(store, masterKey);
    const outages = watchOutages(services, journal);
    const place = await reservePlace();
    const env = { WAYBILL_STORE: store, WAYBILL_QUEUE: queue, WAYBILL_MASTER_KEY: masterKey };
    const { calmForMs } = outages;
    const cluster = await startCluster({
      ...options,
      place,
      env,
      concurrency: CONCURRENCY,
      journal,
      calmForMs,
    });
    ends.push(() => cluster.stop());
    const effects = followEffects(join(place.folder, 'effects.txt'));
    const slots = cluster.workers.length * CONCURRENCY;
    return { cluster, outages, store, credentials, effects, slots, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function addClients(url: string, masterKey: string): Promise<readonly Credential[]> {
  const store = await openPostgresClients({ url, serverId: 'chaos', log: { warn() {} } });
  const { sealer } = await openMaster(store.clients, masterKey, '');
  // Where they call is said with each call: replicas come and go.
  const credentials = await Promise.all(CLIENTS.map((id) => addClient({ store, sealer }, { id, url: '' })));
  await store.close();
  return credentials;
}
