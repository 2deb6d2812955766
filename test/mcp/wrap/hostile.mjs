/**
 * A server of the Model Context Protocol (2025-11-25, stdio) that does what none should. Its first argument is how
 * it lists its tools and begins, the second, if any, a file that counts its starts.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [mode = 'tools', starts] = process.argv.slice(2);
if (starts !== undefined) appendFileSync(starts, '.');
const life = starts === undefined ? 1 : readFileSync(starts, 'utf8').length;

/** @typedef {any} Json what comes over the wire, and what it is taken for */

/** @param {Json} message */
const write = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
/** @param {unknown} value */
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const anything = { type: 'object' };

/** @param {Json} message */
const tokenOf = (message) => message.params['_meta'].progressToken;

/** @type {Json[]} */
const cancelled = [];
/** @type {Json} */
let asked = null;

/**
 * What each tool does; what it returns is the result, anything but an object is no answer.
 *
 * @type {Record<string, (args: Json, message: Json) => unknown>}
 */
const TOOLS = {
  pid: () => text(process.pid),
  echo: (args) => text(JSON.stringify(args)),
  crash: () => process.kill(process.pid, 'SIGKILL'),
  exit: () => process.exit(3),
  hang: () => process.stderr.write('hangs\n'),
  freeze: () => {
    for (;;);
  },
  'hang.job': (_args, message) => {
    write({
      method: 'notifications/progress',
      params: { progressToken: tokenOf(message), progress: 1 },
    });
  },
  cancelled: () => text(JSON.stringify(cancelled)),
  huge: () => process.stdout.write('x'.repeat(5 * 1024 * 1024)),
  large: () => text('x'.repeat(1_500_000)),
  deep: (_args, { id }) => {
    const nest = 200_000;
    process.stdout.write(
      `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"structuredContent":{"a":${'['.repeat(nest)}${']'.repeat(nest)}}}}\n`,
    );
  },
  rubbish: () => {
    process.stdout.write('Listening on port 3000\n\n{"half": \n[1,2]\n{"jsonrpc":"1.0"}\nnull\n');
    process.stdout.write(Buffer.from([0xff, 0xfe, 0x00, 0x0a]));
    return text('and an answer');
  },
  flood: () => {
    for (let i = 0; i < 20_000; i++) {
      write({ method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(200) } });
      write({ method: 'notifications/progress', params: { progressToken: 'nobody', progress: i } });
      write({ id: 987_654, result: {} });
    }
    return text('after the flood');
  },
  chatter: () => {
    for (let i = 0; i < 2_000; i++) process.stderr.write(`line ${i} ${'y'.repeat(5_000)}\n`);
    return text('said it');
  },
  progress: (_args, message) => {
    const token = tokenOf(message);
    /** @param {string} rest */
    const tell = (rest) =>
      process.stdout.write(
        `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},${rest}}}\n`,
      );
    tell('"progress":-1');
    tell('"progress":1e999');
    tell('"progress":"many"');
    tell(`"progress":1,"total":-5,"message":"${'z'.repeat(100_000)}"`);
    return text('done');
  },
  'rpc-error': ({ code }, { id }) => write({ id, error: { code, message: 'the inside of the server' } }),
  fails: () => ({
    isError: true,
    content: [
      { type: 'text', text: 'no such file' },
      { type: 'image', data: 'AAAA', mimeType: 'image/png' },
    ],
  }),
  'fails-silently': () => ({ isError: true, content: [] }),
  'no-result': () => ({ content: 'not a list' }),
  'no-structure': () => text('forgot it'),
  'odd-structure': () => ({ ...text('[1]'), structuredContent: [1] }),
  future: () => ({ content: [{ type: 'hologram', depth: 3, _meta: { 'x/y': 1 } }] }),
  'ask-model': (_args, { id }) => {
    asked = id;
    write({ id: 'ask', method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } });
  },
  environment: () => text(JSON.stringify(process.env)),
  deaf: () => process.stdin.pause(),
};

/** @type {Record<string, object>} */
const EXTRA = {
  'hang.job': { annotations: { idempotentHint: true } },
  crash: { annotations: { title: 'Crash', destructiveHint: true, unknownHint: 'yes', readOnlyHint: 'no' } },
  'no-structure': { outputSchema: { type: 'object', properties: { n: { type: 'number' } } } },
  'odd-structure': { outputSchema: { type: 'array' } },
};

function list() {
  return Object.keys(TOOLS).map((name) => Object.assign({ name, inputSchema: anything }, EXTRA[name]));
}

/** @type {object} */
let nested = anything;
for (let i = 0; i < 40; i++) nested = { type: 'object', properties: { a: nested } };

/**
 * How the tools are listed.
 *
 * @type {Record<string, () => unknown[]>}
 */
const LISTS = {
  tools: list,
  odd: () => [
    { name: 'with space', inputSchema: anything },
    { name: 'x'.repeat(129), inputSchema: anything },
    { name: 'poll_job', inputSchema: anything },
    { inputSchema: anything },
    'not a tool',
    { name: 'no-type', inputSchema: {} },
    { name: 'no-schema' },
    { name: 'deep-schema', inputSchema: nested },
    { name: 'large-schema', inputSchema: { type: 'object', description: 'd'.repeat(200_000) } },
    {
      name: 'bad-name',
      inputSchema: JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"}}}'),
    },
    { name: 'bad-text', description: 'half \ud800 a pair', inputSchema: anything },
    { name: 'echo', title: 'Says it again', inputSchema: anything },
    { name: 'echo', inputSchema: anything },
    { name: 'pid', description: '', annotations: 'none', inputSchema: { ...anything, 'x-mine': [1] } },
  ],
  none: () => [{ name: 'with space', inputSchema: anything }],
  empty: () => [],
  bulky: () =>
    Array.from({ length: 30 }, (_, i) => ({
      name: `tool-${i}`,
      inputSchema: { type: 'object', description: 'd'.repeat(120_000) },
    })),
  /** Changes with each life. */
  fickle: () => [
    { name: 'crash', inputSchema: anything },
    { name: 'pid', inputSchema: anything },
    { name: 'echo', inputSchema: { type: 'object', properties: { [`of-life-${life}`]: {} } } },
    ...(life === 1
      ? [{ name: 'flood', inputSchema: anything }]
      : [{ name: 'environment', inputSchema: anything }]),
  ],
};

/** @param {Json} params */
function page({ cursor }) {
  if (mode === 'endless') return { tools: [], nextCursor: `${Number(cursor ?? 0) + 1}` };
  const tools = (LISTS[mode] ?? list)();
  if (mode !== 'paged' && mode !== 'bulky') return { tools };
  const begin = Number(cursor ?? 0);
  const end = begin + 5;
  return { tools: tools.slice(begin, end), ...(end < tools.length && { nextCursor: String(end) }) };
}

/** @type {Record<string, (message: Json) => unknown>} */
const METHODS = {
  initialize: ({ params }) => ({
    protocolVersion: params.protocolVersion,
    capabilities: { tools: { listChanged: true } },
    serverInfo: { name: 'hostile', version: '1' },
  }),
  'tools/list': ({ params = {} }) => page(params),
  'tools/call': (message) => TOOLS[message.params.name]?.(message.params.arguments, message),
};

if (mode === 'fails-again' && life > 1) {
  process.stderr.write('the port is taken\n');
  process.exit(1);
}
if (mode === 'dies') {
  process.stderr.write('a configuration is missing\n');
  process.exit(1);
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (mode === 'silent') return;
  // As some servers do at whatever comes before the handshake.
  if (mode === 'strict' && message.method === 'server/discover') process.exit(1);
  if (message.method === 'notifications/cancelled') cancelled.push(message.params.requestId);
  if (message.id === 'ask')
    write({ id: asked, result: text(JSON.stringify(message.error ?? message.result)) });
  if (message.method === undefined || message.id === undefined) return;
  const method = METHODS[message.method];
  if (method === undefined) {
    write({ id: message.id, error: { code: -32_601, message: 'Method not found' } });
    return;
  }
  const result = method(message);
  if (typeof result === 'object') write({ id: message.id, result });
});
