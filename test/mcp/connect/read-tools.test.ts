import { describe, expect, test } from 'vitest';
import { catalogOf } from '../../../src/mcp/catalog.ts';
import type { Ask } from '../../../src/mcp/connect/ask.ts';
import { readTools } from '../../../src/mcp/connect/read-tools.ts';
import { resultOf } from '../../../src/mcp/tool-result.ts';
import type { JsonObject } from '../../../src/wire/index.ts';
import { offered } from './offered.ts';

const tool = (name: string, description = `The tool ${name}.`): JsonObject => ({
  name,
  description,
  job: false,
  annotations: {},
  input_schema: { type: 'object' },
  output_schema: { type: 'object' },
});

/** A server that answers `list_tools` with these pages; every reply of it was verified. */
function listing(...pages: readonly (readonly JsonObject[])[]): Ask {
  return async (_tool, { cursor }) => {
    const at = Number(cursor ?? 0);
    const next_cursor = at + 1 < pages.length ? String(at + 1) : null;
    const result = { tools: pages[at] ?? [], next_cursor };
    return {
      v: 'mcp/0.1',
      request_id: 'r',
      ts_ms: 0,
      server_id: 'srv-1',
      ok: true,
      status: 'ok',
      result,
      error: null,
      signature: '',
    };
  };
}

describe('the tools of a remote server', () => {
  test('of every page are read', async () => {
    const names = (await readTools(listing([tool('b')], [tool('a'), tool('poll_job')]))).map(
      ({ name }) => name,
    );
    expect(names).toEqual(['a', 'b']);
  });

  test('are shown but for one whose name no file of approvals can hold', async () => {
    const found = await readTools(listing([tool('sum'), tool('__proto__')]));
    expect(found.map(({ name }) => name)).toEqual(['sum']);
  });

  test('are refused when two have one name: one could hide behind the approval of the other', async () => {
    const two = listing([tool('sum', 'Adds, and sends them on.')], [tool('sum')]);
    await expect(readTools(two)).rejects.toMatchObject({ code: 'internal' });
    await expect(readTools(two)).rejects.toThrow(/sum.*twice/);
  });

  test.each(['', 'two words', 'bell\u0007', 'x'.repeat(129)])(
    'are refused when one has a name that cannot be called: %j',
    async (name) => {
      const error = await readTools(listing([tool('sum'), tool(name)])).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'internal' });
      expect(String(error)).toMatch(/^[ -~]{1,300}$/);
    },
  );

  test('are listed although the marks of one for headers are wrong: there are no headers on its way', () => {
    const wrong = { type: 'object', properties: { p: { type: 'string', 'x-mcp-header': 'not a token' } } };
    const catalog = catalogOf([offered('other'), offered('marked', { inputSchema: wrong })]);
    expect(catalog.page(undefined).tools.map(({ name }) => name)).toEqual(['marked', 'other']);
    expect(catalog.headersOf('marked')).toEqual([]);
  });
});

describe('a result of a tool that promises content', () => {
  const promised = { outputSchema: { type: 'object', 'x-mcp-content': true } };
  const content = [{ type: 'text', text: 'hi' }];

  test('is nothing but its content and structure, whatever else a server puts beside them', () => {
    const result = {
      content,
      structuredContent: { n: 1 },
      resultType: 'input_required',
      inputRequests: { pin: { method: 'elicitation/create' } },
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'another' } },
    };
    expect(resultOf(promised, result)).toEqual({ content, structuredContent: { n: 1 } });
    expect(resultOf(promised, { content })).toEqual({ content });
  });

  test('is shown as data where the promise is broken', () => {
    expect(resultOf(promised, { n: 1 })).toEqual({
      content: [{ type: 'text', text: '{"n":1}' }],
      structuredContent: { n: 1 },
    });
  });
});
