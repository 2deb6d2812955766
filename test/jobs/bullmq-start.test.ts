import { inspect } from 'node:util';
import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type BullmqOptions, openBullmqDispatcher } from '../../src/jobs/dispatchers/bullmq/dispatcher.ts';
import { runChild } from '../support/child.ts';
import { createTestLog } from '../support/log.ts';
import { startPostgres, startRedis } from '../support/services/index.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import { newJob, openDesk, SERVICES } from './bullmq-desk.ts';
import { openRelay } from './bullmq-relay.ts';

/** Why the queue is refused: one line, without the password of its URL. */
async function refusal(url: string, options: Partial<BullmqOptions> = {}): Promise<string> {
  const log = createTestLog();
  const defaults = { url, serverId: 'desk', limits: new Map(), allowVolatileQueue: false, log };
  try {
    const dispatcher = await openBullmqDispatcher({ ...defaults, ...options });
    onTestFinished(() => dispatcher.close());
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    expect(error.name).toBe('SetupError');
    expect(error.message).not.toContain('\n');
    const password = URL.canParse(url) ? new URL(url).password : '';
    // With whatever the error carries.
    if (password !== '') expect(inspect([error, log.lines], { depth: 10 })).not.toContain(password);
    return error.message.replace(/127\.0\.0\.1:\d+/, 'HOST');
  }
  throw new Error('it was taken');
}

describe('at its start a queue is refused', () => {
  test.each(['redis:', 'redis://', 'nonsense', 'http://127.0.0.1/', 'redis//127.0.0.1', ''])(
    'for the URL %j',
    async (url) => {
      expect(await refusal(url)).toMatch(/^the URL of the queue must be redis:/);
    },
  );

  test('for a password that is not encoded', async () => {
    expect(await refusal('redis://:%zz@127.0.0.1:1')).toBe('cannot use redis://HOST: URI malformed');
  });

  test('where nothing listens, whose host is not known, or that never answers', async () => {
    const silent = await openRelay('redis://:secret@127.0.0.1:1');
    silent.hang();
    const postgres = new URL(silent.url);
    const reasons = await Promise.all([
      refusal('redis://:secret@127.0.0.1:1'),
      refusal('postgres://waybill:secret@127.0.0.1:1/db'),
      refusal('redis://:secret@nowhere.invalid'),
      refusal('postgres://waybill:secret@nowhere.invalid/db'),
      refusal(silent.url),
      refusal(`postgres://waybill:secret@${postgres.host}/db`),
    ]);
    expect(reasons).toEqual([
      'cannot use redis://HOST: nothing listens there',
      'cannot use postgres://HOST/db: nothing listens there',
      'cannot use redis://nowhere.invalid: the host is not known',
      'cannot use postgres://nowhere.invalid/db: the host is not known',
      'cannot use redis://HOST: it does not answer',
      'cannot use postgres://HOST/db: it does not answer',
    ]);
  });

  test.each([
    ['bullmq', 'redis://127.0.0.1:1', 'bullmq and ioredis: run "npm install bullmq@6.7 ioredis@6"'],
    ['ioredis', 'redis://127.0.0.1:1', 'bullmq and ioredis: run "npm install bullmq@6.7 ioredis@6"'],
    ['pg', 'postgres://127.0.0.1:1/db', 'bullmq and pg: run "npm install bullmq@6.7 pg@8"'],
  ])('without the package %s', async (missing, url, message) => {
    const child = runChild(
      `import { register } from 'node:module';
      const resolve = async (name, context, next) => {
        if (name !== '${missing}') return next(name, context);
        throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
      };
      register('data:text/javascript,' + encodeURIComponent('export ' + resolve.toString().replace('async (', 'async function resolve(').replace('=>', '')));
      const { openBullmqDispatcher } = await import('DISTjobs/dispatchers/bullmq/dispatcher.js');
      const options = { url: '${url}', serverId: 'desk', limits: new Map(), allowVolatileQueue: false, log: console };
      await openBullmqDispatcher(options).catch((error) => console.log(error.name + ': ' + error.message));`,
    );
    expect(await child.line()).toBe(
      `SetupError: a queue ${missing === 'pg' ? 'in PostgreSQL' : 'on Redis'} needs the packages ${message}`,
    );
  });
});

describe('on Redis a queue is refused', { tags: ['redis'] }, () => {
  test('with a wrong password, and with none', async () => {
    const url = new URL(await redisUrl());
    url.password = 'not-the-secret';
    expect(await refusal(url.href)).toMatch(/^cannot use redis:\/\/HOST\/\d+: WRONGPASS /);
    url.password = '';
    expect(await refusal(url.href)).toMatch(/^cannot use redis:\/\/HOST\/\d+: NOAUTH /);
  });

  test('of a version below 6.2', async () => {
    const relay = await openRelay(await redisUrl(), (text) =>
      text.replace(/redis_version:\d+\.\d+/, (version) => 'redis_version:6.0'.padEnd(version.length, '0')),
    );
    expect(await refusal(relay.url)).toMatch(
      /^redis:\/\/HOST\/\d+ runs Redis 6\.0.*: 6\.2 or later is needed$/,
    );
  });

  test('that would lose jobs, unless that is allowed', { tags: ['own-redis'] }, async () => {
    const { url, stop } = await startRedis({ appendonly: 'no', 'maxmemory-policy': 'allkeys-lru' });
    onTestFinished(stop);
    const fault =
      'redis://HOST would lose jobs when it ends: set "appendonly yes"; ' +
      'it would drop jobs when its memory is full: set "maxmemory-policy noeviction"';
    expect(await refusal(url)).toBe(`${fault}, or take that risk with --allow-volatile-queue`);

    const { dispatcher, log } = await openDesk(url, { allowVolatileQueue: true });
    await dispatcher.push(newJob(), Date.now());
    expect(log.complaints.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      expect.stringMatching(/^warn: redis:\/\/127\.0\.0\.1:\d+ would lose jobs when it ends/),
    ]);
  });
});

describe('in PostgreSQL a queue is refused', { tags: ['postgres'] }, () => {
  test('with a wrong password, and in a database that is not there', async () => {
    const url = new URL(await postgresUrl());
    const { password } = url;
    url.password = 'not-the-secret';
    expect(await refusal(url.href)).toMatch(/^cannot use postgres:\/\/HOST\/\w+: the password is wrong$/);
    url.password = password;
    url.pathname = '/nothing_here';
    expect(await refusal(url.href)).toBe(
      'cannot use postgres://HOST/nothing_here: there is no such database',
    );
  });

  test('of a version below 13', async () => {
    const relay = await openRelay(await postgresUrl(), (text) => text.replace(/\b1[3-9]\d{4}\b/, '120022'));
    expect(await refusal(relay.url)).toMatch(/^postgres:\S+ runs PostgreSQL \S.*: 13 or later is needed$/);
  });

  test('whose tables are of a later BullMQ', async () => {
    const url = await postgresUrl();
    await (await openDesk(url)).dispatcher.close();
    const client = new Client({ connectionString: url });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query(
      `INSERT INTO waybill_queue.migration (version, name, min_client_version) VALUES (1000, 'later', 7)`,
    );
    expect(await refusal(url)).toMatch(
      /^the queue in postgres:\S+ is one of BullMQ 7, and this is BullMQ 6: run "npm install bullmq@7"$/,
    );
  });

  test('that would lose jobs, unless that is allowed', { tags: ['own-postgres'] }, async () => {
    const { url, stop } = await startPostgres({ fsync: 'off' });
    onTestFinished(stop);
    expect(await refusal(url)).toMatch(/would lose jobs at a crash: set "fsync = on", or take that risk/);
    const { log } = await openDesk(url, { allowVolatileQueue: true });
    expect(log.complaints.map(({ level }) => level)).toEqual(['warn']);
  });
});

describe.each(SERVICES)('on an empty $name', ({ tags, url }) => {
  test('several processes may start at once', { tags: [...tags] }, async () => {
    const where = await url();
    const limits = new Map([['narrow', 1]]);
    const desks = await Promise.all(Array.from({ length: 5 }, () => openDesk(where, { limits })));
    for (const { dispatcher } of desks) await expect(dispatcher.ping()).resolves.toBeUndefined();
  });
});
