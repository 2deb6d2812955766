import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hashOf, NO_PREV, parseLine, writeLine } from '../../src/audit/record.ts';
import { anyCall, anyJob, CALL, KEYS, recordOf } from './bundles.ts';

const PLACE = { prev: NO_PREV, seq: 3, ms: 1_795_219_200_000 };

describe('the line of a record', () => {
  test('is JSON without spaces: prev, seq, ms, type, what the type has, hash', () => {
    const { text, hash } = writeLine({ ...CALL, job: 'job-1' }, PLACE);
    const members = {
      prev: NO_PREV,
      seq: 3,
      ms: 1_795_219_200_000,
      type: 'call',
      client: 'alice',
      wire: 'mcp/0.1',
      key: CALL.key,
      request_id: CALL.requestId,
      tool: 'batch_sum',
      request: CALL.request,
      reply: CALL.reply,
      outcome: 'ok',
      job: 'job-1',
      hash,
    };
    expect(text).toBe(JSON.stringify(members));
  });

  test('ends with the SHA-256 of the text up to there and a brace', () => {
    const { text, hash } = writeLine(CALL, PLACE);
    const hashed = `${text.slice(0, text.indexOf(',"hash"'))}}`;
    expect(hash).toBe(createHash('sha256').update(hashed, 'utf8').digest('base64url'));
    expect(hashOf(text)).toBe(hash);
  });

  test('of a job has its state, and its attempt where that is known', () => {
    const job = { type: 'job', job: 'j', client: 'alice', tool: 't', state: 'running' } as const;
    expect(recordOf(writeLine({ ...job, attempt: 2 }, PLACE).text).members).toMatchObject({
      ...job,
      attempt: 2,
    });
    expect(recordOf(writeLine(job, PLACE).text).members).not.toHaveProperty('attempt');
  });

  test('of a first record has the chain, the server, the key and the links', () => {
    const links = [{ chain: 'other', seq: 9, hash: CALL.reply }];
    const open = { type: 'open', chain: 'c', serverId: 'acme', key: KEYS.publicText, links } as const;
    const { members } = recordOf(writeLine(open, { ...PLACE, seq: 0 }).text);
    expect(members).toMatchObject({ chain: 'c', server_id: 'acme', key: KEYS.publicText, links });
  });

  test('is JSON that says what was recorded, whatever a request_id holds', () => {
    fc.assert(
      fc.property(fc.oneof(anyCall, anyJob), fc.nat(), (record, seq) => {
        const line = writeLine(record, { ...PLACE, seq });
        const { members, hash, ...place } = recordOf(line.text);
        expect(JSON.stringify(members)).toBe(line.text);
        expect(place).toMatchObject({ ...PLACE, seq, type: record.type });
        expect(hash).toBe(line.hash);
        const { requestId, ...said } = { requestId: undefined, ...record };
        expect(members).toMatchObject(requestId === undefined ? said : { ...said, request_id: requestId });
      }),
    );
  });

  test.each(['"', '\\', '\\"', 'Zoë', '\u2028', '\ud800'])('holds %j as JSON does', (requestId) => {
    const { text, hash } = writeLine({ ...CALL, requestId }, PLACE);
    expect(JSON.parse(text)).toMatchObject({ request_id: requestId });
    expect(parseLine(text)).toMatchObject({ hash });
  });
});

describe('what is no record', () => {
  const { text } = writeLine(CALL, PLACE);

  test.each([
    ['another JSON', '{"a":1}', 'changed'],
    ['JSON that is no object', '[1]', 'not_json'],
    ['words', 'hello', 'not_json'],
    ['an empty line', '', 'not_json'],
    ['the beginning of a record', text.slice(0, 200), 'cut_off'],
    ['a record without its hash', `${text.slice(0, -54)}}`, 'changed'],
    ['a record with another value', text.replace('alice', 'bob'), 'changed'],
    ['a record with a member doubled', text.replace('"type"', '"seq":3,"type"'), 'changed'],
  ])('%s', (_what, line, damage) => {
    expect(parseLine(line)).toBe(damage);
  });
});
