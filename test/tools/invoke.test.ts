import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import {
  defineTool,
  invoke,
  parseArgs,
  refuseToAsk,
  type Schema,
  type Settled,
  type Tool,
  type ToolContext,
} from '../../src/tools/index.ts';

interface LogLine {
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** A context that keeps what was logged as an error. */
function contextWith(signal: AbortSignal = new AbortController().signal): {
  context: ToolContext;
  lines: LogLine[];
} {
  const lines: LogLine[] = [];
  const quiet = (): void => {};
  const error = (fields: object, message: string): void =>
    void lines.push({ fields: { ...fields }, message });
  const log = { debug: quiet, info: quiet, warn: quiet, error };
  const own = { clientId: 'agent-1', requestId: 'request-1', answers: {}, ask: refuseToAsk };
  return { context: { signal, log, progress: quiet, ...own }, lines };
}

const output = z.object({ total: z.number() });

/** A tool that does what `run` does; what plain JavaScript could return is let through by the types. */
function toolThat(run: (args: unknown, context: ToolContext) => unknown, result: Schema = output): Tool {
  const definition = { name: 'sum', description: 'Adds.', input: z.object({}), output: result };
  return defineTool({ ...definition, run });
}

async function refusalOf(
  tool: Tool,
  signal?: AbortSignal,
): Promise<Extract<Settled, { ok: false }> & { lines: LogLine[] }> {
  const { context, lines } = contextWith(signal);
  const settled = await invoke(tool, {}, context);
  if (settled.ok) throw new Error('the tool succeeded');
  return { ...settled, lines };
}

const throwing = (error: unknown) => [
  toolThat(() => {
    throw error;
  }),
  toolThat(async () => {
    throw error;
  }),
  toolThat(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    throw error;
  }),
];

describe('a tool that succeeds', () => {
  test.each([() => ({ total: 6 }), async () => ({ total: 6 }), () => Promise.resolve({ total: 6 })])(
    'gives its result, at once or later',
    async (run) => {
      const { context, lines } = contextWith();
      expect(await invoke(toolThat(run), {}, context)).toEqual({ ok: true, result: { total: 6 } });
      expect(lines).toEqual([]);
    },
  );

  test('costs no turn of the event loop when neither it nor its schema waits for anything', () => {
    const { context } = contextWith();
    const tool = toolThat(() => ({ total: 6 }));
    expect(invoke(tool, {}, context)).toEqual({ ok: true, result: { total: 6 } });
    expect(parseArgs(tool, {})).toEqual({});
  });

  test('is given the parsed arguments and the context', async () => {
    const { context } = contextWith();
    const seen: unknown[] = [];
    await invoke(
      toolThat((...given) => {
        seen.push(...given);
        return { total: 0 };
      }),
      { a: 1 },
      context,
    );
    expect(seen).toEqual([{ a: 1 }, context]);
    expect(seen[1]).toBe(context);
  });

  test('has its result as the output schema returns it: completed, and without unknown members', async () => {
    const { context } = contextWith();
    const schema = z.object({ total: z.number(), unit: z.string().default('EUR') });
    const settled = await invoke(
      toolThat(() => ({ total: 1, secret: 'x' }), schema),
      {},
      context,
    );
    expect(settled).toEqual({ ok: true, result: { total: 1, unit: 'EUR' } });
  });

  test('keeps its result when it ended before it noticed an abort', async () => {
    const { context } = contextWith(AbortSignal.abort(new ProtocolError('cancelled', 'too late')));
    expect(
      await invoke(
        toolThat(() => ({ total: 1 })),
        {},
        context,
      ),
    ).toEqual({ ok: true, result: { total: 1 } });
  });

  test('may be checked by a schema that works asynchronously', async () => {
    const { context } = contextWith();
    const schema = z.object({ total: z.number().refine(async (total) => total > 0) });
    expect(
      await invoke(
        toolThat(() => ({ total: 1 }), schema),
        {},
        context,
      ),
    ).toMatchObject({ ok: true });
    expect(await refusalOf(toolThat(() => ({ total: -1 }), schema))).toMatchObject({
      error: { code: 'internal' },
    });
  });

  test('may be checked by a schema that writes its success with issues: undefined', async () => {
    const schema: Schema = {
      '~standard': {
        version: 1,
        vendor: 'hand-made',
        validate: (value) => ({ value, issues: undefined }),
        jsonSchema: { input: () => ({ type: 'object' }), output: () => ({ type: 'object' }) },
      },
    };
    const { context } = contextWith();
    expect(
      await invoke(
        toolThat(() => ({ total: 1 }), schema),
        {},
        context,
      ),
    ).toEqual({ ok: true, result: { total: 1 } });
  });
});

describe('a stated failure', () => {
  test('ToolError reaches the caller as job_failed with its message, and is not logged', async () => {
    for (const tool of throwing(new ToolError('no such city'))) {
      const { error, retryable, lines } = await refusalOf(tool);
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.text).toBe('job_failed: no such city');
      expect(retryable).toBe(false);
      expect(lines).toEqual([]);
    }
  });

  test('ToolError says itself whether a job may try again', async () => {
    const [tool = toolThat(() => 0)] = throwing(new ToolError('later', { retryable: true }));
    expect(await refusalOf(tool)).toMatchObject({ retryable: true });
  });

  test('the cause of a ToolError stays inside', async () => {
    const [tool = toolThat(() => 0)] = throwing(
      new ToolError('no', { cause: new Error('password=hunter2') }),
    );
    const { error } = await refusalOf(tool);
    expect(JSON.stringify([error, error.text, error.cause, error.result])).not.toContain('hunter2');
  });

  test.each([
    ['ToolError', (message: string) => new ToolError(message)],
    ['ProtocolError', (message: string) => new ProtocolError('forbidden', message)],
  ])('a message of %s that no reply can carry is mended or cut', async (_, make) => {
    const messageOf = async (message: string): Promise<string> => {
      const [tool = toolThat(() => 0)] = throwing(make(message));
      return (await refusalOf(tool)).error.message;
    };
    expect(await messageOf('a\ud800b')).toBe('a\ufffdb');
    expect(await messageOf('x'.repeat(8_192))).toBe('x'.repeat(8_192));
    expect(await messageOf('x'.repeat(2_000_000))).toBe(`${'x'.repeat(8_192)}…`);
    expect(await messageOf(`${'x'.repeat(8_191)}\u{1f602}`)).toBe(`${'x'.repeat(8_191)}\ufffd…`);
  });

  test.each([
    ['forbidden', false],
    ['not_found', false],
    ['rate_limited', true],
    ['busy', true],
  ] as const)(
    'ProtocolError %s passes as it is; retryable: %s, as the table says',
    async (code, retryable) => {
      const thrown = new ProtocolError(code, 'why', { retry_after_ms: 5 });
      for (const tool of throwing(thrown)) {
        const settled = await refusalOf(tool);
        expect(settled.error).toMatchObject({ code, message: 'why', result: { retry_after_ms: 5 } });
        expect(settled).toMatchObject({ retryable, lines: [] });
      }
    },
  );
});

describe('any other failure', () => {
  const ID = /^the tool failed; error id ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

  test('is internal with an opaque id; the detail is in the log under that id and nowhere else', async () => {
    for (const thrown of [
      new Error('password=hunter2'),
      new TypeError('hunter2'),
      'hunter2',
      { hunter2: 1 },
    ]) {
      for (const tool of throwing(thrown)) {
        const { error, retryable, lines } = await refusalOf(tool);
        expect(error.code).toBe('internal');
        const [, id] = ID.exec(error.message) ?? [];
        expect(id).toBeDefined();
        expect(error.result).toBeNull();
        expect(error.cause).toBeUndefined();
        expect(`${error.stack}${JSON.stringify(error)}`).not.toContain('hunter2');
        expect(lines).toEqual([
          {
            message: 'tool failed',
            fields: { err: thrown, error_id: id, tool: 'sum', client_id: 'agent-1', request_id: 'request-1' },
          },
        ]);
        // A job may try again: what was not foreseen may pass.
        expect(retryable).toBe(true);
      }
    }
  });

  test('has a new id each time', async () => {
    const [tool = toolThat(() => 0)] = throwing(new Error('x'));
    const [one, two] = [await refusalOf(tool), await refusalOf(tool)];
    expect(one.error.message).not.toBe(two.error.message);
  });

  test('whatever is thrown, invoke does not throw and shows none of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.anything(), async (thrown) => {
        const [tool = toolThat(() => 0)] = throwing(thrown);
        expect((await refusalOf(tool)).error.message).toMatch(ID);
      }),
    );
  });
});

describe('a tool that breaks its own output schema', () => {
  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', 'x'],
    ['a wrong member', { total: 'six' }],
    ['a missing member', {}],
    ['NaN', { total: Number.NaN }],
  ])('by returning %s is internal; the log says where', async (_, value) => {
    for (const run of [() => value, async () => value]) {
      const { error, lines } = await refusalOf(toolThat(run));
      expect(error.code).toBe('internal');
      expect(error.message).not.toContain('total');
      expect(String(lines[0]?.fields['err'])).toMatch(/the tool broke its own output schema at (\$|total): /);
    }
  });
});

describe('an aborted tool', () => {
  const waiting = toolThat(
    (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('AbortError of some library')));
        if (signal.aborted) reject(new Error('AbortError of some library'));
      }),
  );

  test.each(['cancelled', 'deadline_exceeded', 'busy'] as const)(
    'ends with the reason of the abort: %s',
    async (code) => {
      const reason = new ProtocolError(code, 'why');
      const controller = new AbortController();
      const ending = refusalOf(waiting, controller.signal);
      controller.abort(reason);
      const { error, retryable, lines } = await ending;
      expect(error).toBe(reason);
      expect({ retryable, lines }).toEqual({ retryable: false, lines: [] });
      expect((await refusalOf(waiting, AbortSignal.abort(reason))).error).toBe(reason);
    },
  );

  test('for a reason that is not ours is an unknown failure', async () => {
    const { error } = await refusalOf(waiting, AbortSignal.abort(new Error('hunter2')));
    expect(error.code).toBe('internal');
  });
});
