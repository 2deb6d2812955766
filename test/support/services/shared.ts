import { randomBytes, randomInt } from 'node:crypto';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, inject, onTestFinished } from 'vitest';
import { POSTGRES_LIMITS } from '../../../src/limits.ts';
import type { ServiceTag } from './missing.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the shared servers are asked for. */
    services: string;
  }
  interface TestTags {
    services: ServiceTag;
  }
}

// A busy machine lets somebody in more slowly than a server would wait for.
Object.assign(POSTGRES_LIMITS, { connectTimeoutMs: 20_000 });

/** An empty database on the shared PostgreSQL, dropped when the test ends. The test has the tag `postgres`. */
export async function postgresUrl(): Promise<string> {
  const name = `waybill_test_${randomBytes(8).toString('hex')}`;
  // Before the first await, while it is certain which test this is.
  onTestFinished(() => administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  await administer(`CREATE DATABASE ${name} TEMPLATE template0`);
  return withPath(await serverUrl('postgres'), name);
}

/** One connection for all tests of the file: making one costs as much as the drop of a database. */
let administrator: Promise<Client> | undefined;
afterAll(async () => (await administrator)?.end());

async function administer(sql: string): Promise<void> {
  administrator ??= connectAdministrator();
  await (await administrator).query(sql);
}

async function connectAdministrator(): Promise<Client> {
  const client = new Client({ connectionString: await serverUrl('postgres') });
  // A server that somebody lends us may end a connection that is idle: then the next one is new.
  client.on('error', () => {
    administrator = undefined;
  });
  await client.connect();
  return client;
}

/** Marks a database of Redis as in use. */
const CLAIM = 'waybill-test';
/** How long a claim stands that nobody gave back. */
const CLAIM_SECONDS = 3600;

/**
 * A numbered database of the shared Redis that was empty, emptied again when the test ends. Publish and subscribe
 * know no numbers: a channel is shared. The test has the tag `redis`.
 *
 * @throws when no database of it is empty
 */
export async function redisUrl(): Promise<string> {
  const claimed: string[] = [];
  // Before the first await, while it is certain which test this is.
  onTestFinished(async () => {
    for (const url of claimed) await withRedis(url, (redis) => redis.flushdb());
  });
  const server = await serverUrl('redis');
  const number = await withRedis(server, claimDatabase);
  const url = withPath(server, String(number));
  claimed.push(url);
  return url;
}

/** Takes only what is empty: a Redis that somebody lends us may have other things in it. */
async function claimDatabase(redis: Redis): Promise<number> {
  const settings = await redis.config('GET', 'databases');
  const count = Number(Array.isArray(settings) ? settings[1] : 0);
  const first = randomInt(count);
  for (let i = 0; i < count; i++) {
    const number = (first + i) % count;
    await redis.select(number);
    if ((await redis.dbsize()) > 0) continue;
    if ((await redis.set(CLAIM, process.pid, 'EX', CLAIM_SECONDS, 'NX')) === 'OK') return number;
  }
  throw new Error(`none of the ${count} databases of the Redis for tests is empty`);
}

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  try {
    await redis.connect();
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** The same server, and whatever else its URL says, with another database. */
function withPath(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

const serverUrls = new Map<string, Promise<string>>();

function serverUrl(name: 'postgres' | 'redis'): Promise<string> {
  const url = serverUrls.get(name) ?? askServerUrl(name);
  serverUrls.set(name, url);
  return url;
}

async function askServerUrl(name: 'postgres' | 'redis'): Promise<string> {
  const response = await fetch(`${inject('services')}${name}`);
  const text = await response.text();
  if (!response.ok) throw new Error(`no ${name} for this test: ${text}`);
  return text;
}
