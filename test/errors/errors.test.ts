import { describe, expect, test } from 'vitest';
import { busy, ClientError, ProtocolError, SetupError, ToolError } from '../../src/errors/index.ts';

describe('ProtocolError', () => {
  test('says itself as "code: message"', () => {
    const error = new ProtocolError('not_found', 'no such job');
    expect(error.text).toBe('not_found: no such job');
    expect(error).toMatchObject({
      name: 'ProtocolError',
      code: 'not_found',
      message: 'no such job',
      result: null,
    });
    expect(error).toBeInstanceOf(Error);
  });

  test('carries what goes into result', () => {
    const issues = [{ path: 'a', message: 'is missing' }];
    expect(new ProtocolError('invalid_args', 'a: is missing', { issues }).result).toEqual({ issues });
  });

  test('busy says when to come back', () => {
    expect(busy('full', 250)).toMatchObject({
      code: 'busy',
      text: 'busy: full',
      result: { retry_after_ms: 250 },
    });
  });
});

test('a stated failure of a tool is final unless it says otherwise', () => {
  const cause = new Error('inside');
  expect(new ToolError('no')).toMatchObject({ name: 'ToolError', message: 'no', retryable: false });
  expect(new ToolError('later', { retryable: true, cause })).toMatchObject({ retryable: true, cause });
});

test.each(['timeout', 'connection', 'reply_unverified'] as const)(
  'a client error of kind %s keeps its cause',
  (kind) => {
    const cause = new Error('inside');
    expect(new ClientError(kind, 'why', { cause })).toMatchObject({
      name: 'ClientError',
      kind,
      message: 'why',
      cause,
    });
  },
);

test('the kinds of failure are told apart by class', () => {
  const errors = [
    new ProtocolError('busy', ''),
    new ToolError(''),
    new ClientError('timeout', ''),
    new SetupError(''),
  ];
  for (const kind of [ProtocolError, ToolError, ClientError, SetupError]) {
    expect(errors.filter((error) => error instanceof kind)).toHaveLength(1);
  }
});
