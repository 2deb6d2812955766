import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseEngineUrls, publicUrls } from '../../src/jobs/index.ts';

const POSTGRES = 'postgres://user:hunter2@db.example:5433/jobs?password=hunter2';
const REDIS = 'rediss://:hunter2@redis.example:6380/2?password=hunter2';

describe('the URLs of store and queue', () => {
  test('name a folder, or a database and a queue; without a queue both are one', () => {
    expect(parseEngineUrls('sqlite:/var/lib/x', undefined)).toEqual({ kind: 'sqlite', dir: '/var/lib/x' });
    expect(parseEngineUrls(POSTGRES, undefined)).toEqual({
      kind: 'postgres',
      store: POSTGRES,
      queue: POSTGRES,
    });
    expect(parseEngineUrls('postgresql://h/d', REDIS)).toMatchObject({
      store: 'postgresql://h/d',
      queue: REDIS,
    });
  });

  test('are shown without user, password and parameters', () => {
    expect(publicUrls(parseEngineUrls(POSTGRES, REDIS))).toEqual({
      store: 'postgres://db.example:5433/jobs',
      queue: 'rediss://redis.example:6380/2',
    });
  });

  test.each([
    ['', /^store must be sqlite:FOLDER or postgres:/],
    ['sqlite:', /^store must be/],
    ['./data', /^store must be/],
    ['mysql://u:hunter2@h/d', /^store must be/],
    ['redis://:hunter2@h', /^store must be/],
    ['postgres:hunter2', /^store must be/],
    ['postgres://u:hunter2@h:99999/d', /^store must be/],
    ['postgres://u:hunter2@[h/d', /^store must be/],
  ])('store %j is refused', (store, message) => {
    expect(() => parseEngineUrls(store, undefined)).toThrow(TypeError);
    expect(() => parseEngineUrls(store, undefined)).toThrow(message);
  });

  test.each([
    '',
    'redis',
    'redis://',
    'redis:hunter2',
    'redis:///var/run/redis.sock',
    'redis://h:0x1/1',
    'redis://:hunter2@h:6379/hunter2',
    'amqp://u:hunter2@h',
    'sqlite:x',
  ])('queue %j is refused', (queue) => {
    expect(() => parseEngineUrls(POSTGRES, queue)).toThrow(/^queue must be redis:/);
  });

  test('a queue beside a sqlite: store is refused', () => {
    expect(() => parseEngineUrls('sqlite:x', REDIS)).toThrow(/^queue has no use with a sqlite: store/);
  });

  test('whatever is wrong with them, no refusal repeats what may be a password', () => {
    const part = fc.string({ minLength: 6, unit: 'binary' }).filter((text) => !/^[a-z:]*$/i.test(text));
    const scheme = fc.constantFrom('', 'postgres://', 'postgres:', 'redis://', 'mysql://', 'http://u:');
    fc.assert(
      fc.property(scheme, part, fc.constantFrom('', '@h', '@h:x/d'), (before, secret, behind) => {
        const text = `${before}${secret}${behind}`;
        for (const [store, queue] of [
          [text, undefined],
          [POSTGRES, text],
        ] as const) {
          try {
            parseEngineUrls(store, queue);
          } catch (error) {
            expect(String(error)).not.toContain(secret);
          }
        }
      }),
    );
  });
});
