import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ToolError } from '../../src/errors/index.ts';
import {
  type ContentBlock,
  contentOutput,
  defineTool,
  type Tool,
  withJsonSchema,
} from '../../src/tools/index.ts';

/** Tools of the official runner that show one kind of result each. */

export const NOTHING = z.strictObject({});

export const textBlock = (text: string): ContentBlock => ({ type: 'text', text });

// One pixel, 24 bits.
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGOQz+8GAAHKARoLeFNrAAAAAElFTkSuQmCC';
// Eight samples of one byte at 8 kHz: a millisecond of sound.
const WAV = 'UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAsNCwgFAwUA==';

const image: ContentBlock = { type: 'image', data: PNG, mimeType: 'image/png' };
const audio: ContentBlock = { type: 'audio', data: WAV, mimeType: 'audio/wav' };

function resource(uri: string, mimeType: string, text: string): ContentBlock {
  return { type: 'resource', resource: { uri, mimeType, text } };
}

/** A tool without arguments that returns the same blocks every time. */
function showTool(name: string, description: string, content: readonly ContentBlock[]): Tool {
  return defineTool({
    name,
    description,
    annotations: { readOnlyHint: true },
    input: NOTHING,
    output: contentOutput(),
    run: () => ({ content }),
  });
}

const failing = defineTool({
  name: 'test_error_handling',
  description: 'Fails, and says so.',
  annotations: { readOnlyHint: true },
  input: NOTHING,
  output: NOTHING,
  run() {
    throw new ToolError('this tool always fails');
  },
});

const progress = defineTool({
  name: 'test_tool_with_progress',
  description: 'Reports its progress in three steps.',
  annotations: { readOnlyHint: true },
  input: NOTHING,
  output: contentOutput(),
  async run(_, context) {
    for (const completed of [0, 50, 100]) {
      context.progress({ completed, total: 100 });
      await sleep(50, undefined, { signal: context.signal });
    }
    return { content: [textBlock('three steps done')] };
  },
});

const logging = defineTool({
  name: 'test_logging_tool',
  description: "Writes to the server's log, which is nobody else's business.",
  annotations: { readOnlyHint: true },
  input: NOTHING,
  output: contentOutput(),
  run(_, { log }) {
    log.info({}, 'a line of a tool');
    return { content: [textBlock('logged')] };
  },
});

const headers = defineTool({
  // The runner calls the first tool of the list without arguments: no name comes before this one.
  name: 'annotated_headers',
  description: 'Gives its region back, which HTTP clients repeat in a header.',
  annotations: { readOnlyHint: true },
  input: z.strictObject({ region: z.string().meta({ 'x-mcp-header': 'Region' }).default('nowhere') }),
  output: contentOutput(),
  run: ({ region }) => ({ content: [textBlock(region)] }),
});

const text = z.string().optional();

const wholeSchema = defineTool({
  name: 'json_schema_2020_12_tool',
  description: 'Takes a contact; its schema uses much of JSON Schema 2020-12.',
  annotations: { readOnlyHint: true },
  input: withJsonSchema(
    z
      .strictObject({
        name: text,
        address: z.looseObject({ street: text, city: text }).optional(),
        contactMethod: z.enum(['phone', 'email']).optional(),
        phone: text,
        email: text,
      })
      .refine(({ contactMethod, phone, email }) => (contactMethod === 'phone' ? phone : email) !== undefined),
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
  ),
  output: contentOutput(),
  run: (contact) => ({ content: [textBlock(JSON.stringify(contact))] }),
});

export const CONTENT_TOOLS: readonly Tool[] = [
  showTool('test_simple_text', 'Returns text.', [textBlock('plain text of a fixture')]),
  showTool('test_image_content', 'Returns a picture.', [image]),
  showTool('test_audio_content', 'Returns a sound.', [audio]),
  showTool('test_embedded_resource', 'Returns a file.', [
    resource('test://embedded', 'text/plain', 'words in a file'),
  ]),
  showTool('test_multiple_content_types', 'Returns text, a picture and a file.', [
    textBlock('three kinds'),
    image,
    resource('test://mixed', 'application/json', '{"kinds":3}'),
  ]),
  failing,
  progress,
  logging,
  headers,
  wholeSchema,
];
