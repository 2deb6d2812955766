/**
 * The published definition of the two messages as JSON Schema 2020-12 (docs/protocol.md §1).
 * The hand-written check in mcp-0.1.ts is faster and says what is wrong in fewer words;
 * a property test holds the two together.
 */

const VISIBLE_ASCII = '^[!-~]*$';
const ID = '^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$';
const REQUEST_ID = { type: 'string', minLength: 1, maxLength: 128, pattern: VISIBLE_ASCII } as const;
const TS_MS = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;

export const REQUEST_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'mcp/0.1 request',
  type: 'object',
  additionalProperties: false,
  required: ['v', 'request_id', 'ts_ms', 'client_id', 'server_id', 'tool', 'args', 'nonce', 'signature'],
  properties: {
    v: { const: 'mcp/0.1' },
    request_id: REQUEST_ID,
    ts_ms: TS_MS,
    client_id: { type: 'string', pattern: ID },
    server_id: { type: 'string', pattern: ID },
    tool: { type: 'string', pattern: '^[A-Za-z0-9_./-]{1,128}$' },
    args: { type: 'object' },
    nonce: { type: 'string', minLength: 8, maxLength: 128, pattern: VISIBLE_ASCII },
    signature: { type: 'string', pattern: '^([0-9a-f]{64}|ed25519:[A-Za-z0-9_-]{85}[AQgw])$' },
  },
} as const;

export const RESPONSE_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'mcp/0.1 response',
  type: 'object',
  additionalProperties: false,
  required: ['v', 'request_id', 'ts_ms', 'server_id', 'ok', 'status', 'result', 'error', 'signature'],
  properties: {
    v: { const: 'mcp/0.1' },
    request_id: REQUEST_ID,
    ts_ms: TS_MS,
    server_id: { type: 'string', pattern: ID },
    ok: { type: 'boolean' },
    status: { enum: ['ok', 'accepted', 'running', 'done', 'error'] },
    result: { type: ['object', 'null'] },
    error: { type: ['string', 'null'] },
    signature: { type: 'string', pattern: '^([0-9a-f]{64}|ed25519:[A-Za-z0-9_-]{85}[AQgw])?$' },
  },
  if: { properties: { status: { const: 'error' } } },
  // biome-ignore lint/suspicious/noThenProperty: `then` is a keyword of JSON Schema.
  then: { properties: { error: { type: 'string' } } },
  else: { properties: { error: { type: 'null' }, ok: { const: true } } },
} as const;
