import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../../src/errors/index.ts';
import { type Edit, editConfig, type Wish } from '../../../src/mcp/install/edit.ts';
import { isOurs } from '../../../src/mcp/install/entry.ts';
import { parseSpans } from '../../../src/mcp/install/json-text.ts';
import { anyJson } from '../../wire/arbitraries.ts';

const ENTRY = {
  command: '/usr/bin/node',
  args: ['/opt/waybill/dist/cli/main.js', 'connect', '--credential', '/home/a/alice.json'],
};
const OTHER = { command: 'npx', args: ['-y', 'other'], env: { TOKEN: 'secret' } };
const ADD: Wish = { member: 'mcpServers', name: 'waybill', entry: ENTRY, replace: false };
const REMOVE: Wish = { ...ADD, entry: null };

const edit = (text: string, wish: Partial<Wish> = {}): Edit =>
  editConfig(text, 'f.json', { ...ADD, ...wish });

describe('an entry in the configuration of a host', () => {
  test.each(['', '\n', '  '])('is written into a file that holds nothing (%j)', (text) => {
    expect(edit(text)).toEqual({
      text: `${JSON.stringify({ mcpServers: { waybill: ENTRY } }, null, 2)}\n`,
      action: 'add',
      before: null,
    });
  });

  test('is added behind the others, and every character of those stays', () => {
    const text =
      '{\n    "b": 12345678901234567890,\n\t"a" : 1.0e+2,   "mcpServers": {\n        "x": {"command":"c"}   \n    },\n "z": "\\u0041"}';
    const { text: after, action } = edit(text);
    expect(action).toBe('add');
    const at = after.indexOf(',\n        "waybill"');
    expect(at).toBeGreaterThan(0);
    expect(after.slice(0, at)).toBe(text.slice(0, at));
    const rest = text.slice(at);
    expect(after.slice(-rest.length)).toBe(rest);
    expect(Object.keys(JSON.parse(after))).toEqual(['b', 'a', 'mcpServers', 'z']);
    expect(JSON.parse(after).mcpServers).toEqual({ x: { command: 'c' }, waybill: ENTRY });
  });

  test('takes over the layout: indentation, line ends, one line, a byte-order mark', () => {
    expect(edit('{\r\n\t"a": 1\r\n}\r\n').text).toBe(
      `{\r\n\t"a": 1,\r\n\t"mcpServers": ${JSON.stringify({ waybill: ENTRY }, null, '\t').replaceAll('\n', '\r\n\t')}\r\n}\r\n`,
    );
    expect(edit('{"a":1}').text).toBe(`{"a":1,"mcpServers":${JSON.stringify({ waybill: ENTRY })}}`);
    expect(edit('\ufeff{"a":1}').text).toBe(
      `\ufeff{"a":1,"mcpServers":${JSON.stringify({ waybill: ENTRY })}}`,
    );
  });

  test('of ours is replaced where it stands; the same one is left alone', () => {
    const old = { ...ENTRY, args: [...ENTRY.args.slice(0, 3), '/old/alice.json'] };
    const text = JSON.stringify({ mcpServers: { a: OTHER, waybill: old, z: OTHER }, b: 1 }, null, 2);
    const once = edit(text);
    expect(once.action).toBe('replace');
    expect(JSON.parse(once.before ?? '')).toEqual(old);
    expect(once.text).toBe(
      JSON.stringify({ mcpServers: { a: OTHER, waybill: ENTRY, z: OTHER }, b: 1 }, null, 2),
    );
    expect(edit(once.text)).toMatchObject({ action: 'none', text: once.text });
  });

  test('of somebody else is neither overwritten nor removed, unless that is wanted', () => {
    const text = JSON.stringify({ mcpServers: { waybill: OTHER } });
    for (const wish of [ADD, REMOVE]) {
      expect(() => edit(text, wish)).toThrow(SetupError);
      expect(() => edit(text, wish)).toThrow(
        /f\.json has an entry waybill that does not start waybill.*--replace/,
      );
    }
    expect(JSON.parse(edit(text, { replace: true }).text)).toEqual({ mcpServers: { waybill: ENTRY } });
    expect(JSON.parse(edit(text, { ...REMOVE, replace: true }).text)).toEqual({ mcpServers: {} });
  });

  test.each([
    [{ waybill: ENTRY }, {}],
    [{ waybill: ENTRY, z: OTHER }, { z: OTHER }],
    [{ a: OTHER, waybill: ENTRY }, { a: OTHER }],
    [
      { a: OTHER, waybill: ENTRY, z: OTHER },
      { a: OTHER, z: OTHER },
    ],
  ])('is removed with its comma from %j', (before, after) => {
    for (const indent of [undefined, 2, '\t']) {
      const removed = edit(JSON.stringify({ q: 1, mcpServers: before, r: 2 }, null, indent), REMOVE);
      expect(removed.action).toBe('remove');
      expect(JSON.stringify(JSON.parse(removed.text))).toBe(
        JSON.stringify({ q: 1, mcpServers: after, r: 2 }),
      );
    }
  });

  test.each(['', '{}', '{"mcpServers":{}}'])('that is not there is not removed from %j', (text) => {
    expect(edit(text, REMOVE)).toEqual({ text, action: 'none', before: null });
  });

  const refused: readonly (readonly [string, RegExp])[] = [
    ['{\n  "a": 1,\n}', /f\.json is not valid JSON, line 3, column 1: expected a name in double quotes/],
    ['{"a": tru}', /line 1, column 7: expected a value/],
    ['{"a": 1', /line 1, column 8: the text ends too early/],
    ['{"a": "b\nc"}', /line 1, column 9: expected the end of a string/],
    ['{"a": 01}', /line 1, column 8/],
    ['{} {}', /line 1, column 4: something stands behind the value/],
    ['['.repeat(10_000), /nested too deeply/],
    ['[]', /is JSON, but not an object/],
    ['{"mcpServers": []}', /has a member mcpServers that is not an object/],
    ['{"mcpServers": {}, "mcpServers": {}}', /has the member mcpServers twice/],
    ['{"mcpServers": {"waybill": 1, "way\\u0062ill": 2}}', /has the member waybill twice/],
    [
      '{\n  // mine\n  "servers": {}}',
      /has comments.*line 2, column 3.*add "waybill":\{.*\} to "mcpServers" by hand/,
    ],
    ['{"a": 1 /* one */}', /has comments/],
  ];
  test.each(refused)('is not written into %j', (text, pattern) => {
    expect(() => edit(text)).toThrow(SetupError);
    expect(() => edit(text)).toThrow(pattern);
  });

  test('no message quotes what stands in the file', () => {
    for (const text of ['{"token": "s3cret" x}', '{"token": s3cret}', '"s3cret'])
      expect(() => edit(text)).not.toThrow(/s3cret/);
  });

  test('any other configuration comes through adding and removing as it was', () => {
    const members = fc.array(fc.tuple(fc.string(), anyJson), { maxLength: 4 });
    const layout = fc.constantFrom(undefined, 2, 4, '\t');
    fc.assert(
      fc.property(members, members, layout, (root, servers, indent) => {
        const others = Object.fromEntries(servers.filter(([name]) => name !== 'waybill'));
        const text = JSON.stringify({ ...Object.fromEntries(root), mcpServers: others }, null, indent);
        const added = edit(text);
        expect(JSON.parse(added.text).mcpServers.waybill).toEqual(ENTRY);
        const removed = edit(added.text, REMOVE);
        expect(removed.action).toBe('remove');
        expect(JSON.stringify(JSON.parse(removed.text))).toBe(JSON.stringify(JSON.parse(text)));
        if (Object.keys(others).length > 0) expect(removed.text).toBe(text);
      }),
    );
  });
});

describe('JSON text', () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const isParsed = (text: string): boolean => {
    try {
      parseSpans(text);
      return true;
    } catch {
      return false;
    }
  };

  test('is taken if and only if JSON.parse takes it', () => {
    const nearJson = fc
      .tuple(
        anyJson,
        fc.nat(),
        fc.constantFrom('', ',', '"', '}', ']', '0', '-', '.', 'e', '\\', ' ', '\u0000'),
      )
      .map(([value, at, piece]) => {
        const text = JSON.stringify(value);
        const cut = at % (text.length + 1);
        return text.slice(0, cut) + piece + text.slice(cut + (at % 2));
      });
    fc.assert(
      fc.property(nearJson, (text) => {
        expect([text, isParsed(text)]).toEqual([text, isJson(text)]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('with a string of many megabytes is taken', () => {
    const text = JSON.stringify({ history: 'x"\\'.repeat(3_000_000) });
    expect(parseSpans(text).end).toBe(text.length);
  });
});

describe('an entry that starts waybill', () => {
  test.each([
    [ENTRY],
    [{ command: 'waybill', args: ['connect', '--credential', 'x'] }],
    [{ command: 'npx', args: ['-y', 'waybill', 'connect', '--wait-ms', '5', '--credential', 'x'] }],
    [{ command: 'npx', args: ['waybill@1.2.3', 'connect', '--credential', 'x'] }],
    [{ command: 'C:\\node\\node.exe', args: ['C:\\w\\dist\\cli\\main.js', 'connect', '--credential', 'x'] }],
  ])('is known: %j', (entry) => {
    expect(isOurs(entry)).toBe(true);
  });

  test.each([
    [OTHER],
    [{ command: 'node', args: ['main.js', 'connect', '--credential', 'x'] }],
    [{ command: 'waybill', args: ['serve'] }],
    [{ command: 'other', args: ['connect', '--credential', 'waybill'] }],
    [{ url: 'https://waybill.example' }],
    ['waybill connect --credential x'],
    [null],
  ])('is told from others: %j', (entry) => {
    expect(isOurs(entry)).toBe(false);
  });
});
