import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Service, startPostgres, startRedis } from './services/index.ts';
import { postgresUrl, redisUrl } from './services/shared.ts';

/** Many times what an answer takes. */
const FROZEN_MS = 100;

async function sql(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

function redisAt(url: string): Redis {
  const redis = new Redis(url);
  // It tries again by itself; what matters here is what a command gets.
  redis.on('error', () => {});
  onTestFinished(() => redis.disconnect());
  return redis;
}

function own(service: Service): Service {
  onTestFinished(() => service.stop());
  return service;
}

describe('a PostgreSQL database for a test', { tags: ['postgres'] }, () => {
  test('is empty and its own', async () => {
    const [a, b] = await Promise.all([postgresUrl(), postgresUrl()]);
    await sql(a, 'CREATE TABLE goods (id bigint)');
    const tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    expect(await sql(a, tables)).toEqual([{ tablename: 'goods' }]);
    expect(await sql(b, tables)).toEqual([]);
  });
});

describe('a Redis database for a test', { tags: ['redis'] }, () => {
  test('is its own', async () => {
    const [a, b] = await Promise.all([redisUrl(), redisUrl()]);
    await redisAt(a).set('goods', '1');
    expect(await redisAt(a).get('goods')).toBe('1');
    expect(await redisAt(b).get('goods')).toBe(null);
  });
});

describe('a PostgreSQL of one’s own', { tags: ['own-postgres'] }, () => {
  test('has what was committed after kill -9, and works on after it was frozen', async () => {
    const postgres = own(await startPostgres());
    await sql(postgres.url, 'CREATE TABLE goods AS SELECT 7 AS id');
    const client = new Client({ connectionString: postgres.url });
    // It may say so twice: the server is ending, and then the connection has gone.
    const lost = new Promise((resolve) => client.on('error', resolve));
    await client.connect();

    await postgres.kill('SIGSTOP');
    const answer = client.query('SELECT id FROM goods');
    expect(await Promise.race([answer, delay(FROZEN_MS, 'none')])).toBe('none');
    await postgres.kill('SIGCONT');
    expect((await answer).rows).toEqual([{ id: 7 }]);

    await postgres.kill();
    await lost;
    await expect(sql(postgres.url, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
    await postgres.restart();
    expect(await sql(postgres.url, 'SELECT id FROM goods')).toEqual([{ id: 7 }]);
  });

  test('keeps every promise of durability, unless told otherwise', async () => {
    const postgres = own(await startPostgres({ fsync: 'off' }));
    const setting = (name: string) => sql(postgres.url, `SHOW ${name}`);
    expect(await setting('fsync')).toEqual([{ fsync: 'off' }]);
    expect(await setting('full_page_writes')).toEqual([{ full_page_writes: 'on' }]);
    expect(await setting('synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
  });

  test('that does not start says why', async () => {
    await expect(startPostgres({ max_connections: 'many' })).rejects.toThrow(
      /PostgreSQL ended .*max_connections/s,
    );
  });
});

describe('a Redis of one’s own', { tags: ['own-redis'] }, () => {
  test('has what was written after kill -9, and works on after it was frozen', async () => {
    const service = own(await startRedis());
    const redis = redisAt(service.url);
    await redis.set('goods', '7');

    await service.kill('SIGSTOP');
    const answer = redis.get('goods');
    expect(await Promise.race([answer, delay(FROZEN_MS, 'none')])).toBe('none');
    await service.kill('SIGCONT');
    expect(await answer).toBe('7');

    await service.kill();
    await service.restart();
    expect(await redis.get('goods')).toBe('7');
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  });

  test('that does not start says why', async () => {
    await expect(startRedis({ appendonly: 'perhaps' })).rejects.toThrow(/Redis ended .*appendonly/s);
  });
});
