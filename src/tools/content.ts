import { z } from 'zod';
import type { JsonSchema, Schema } from './schema.ts';
import { withJsonSchema } from './schema.ts';

/**
 * Marks an output schema as content of the Model Context Protocol: `content` is a list of its blocks (text,
 * image, audio, resource), `structuredContent` what programs read. A face gives both as they are.
 */
const MARK = 'x-mcp-content';

/** What a tool returns that shows more than data: pictures, sound, files. */
export interface Content {
  readonly content: readonly ContentBlock[];
  readonly structuredContent?: Readonly<Record<string, unknown>>;
}

/** One block, as the Model Context Protocol defines it for the result of a tool. */
export interface ContentBlock {
  readonly type: string;
  readonly [member: string]: unknown;
}

const block = z.looseObject({ type: z.string().min(1) });
const shape = z.strictObject({
  content: z.array(block),
  structuredContent: z.record(z.string(), z.unknown()).optional(),
});

/**
 * The output schema of a tool that returns content blocks.
 *
 * @param structured JSON Schema of `structuredContent`, if there will be one
 */
export function contentOutput(structured?: JsonSchema): Schema<Content, Content> {
  return withJsonSchema<Content, Content>(
    // zod types an absent member as undefined; a Content leaves it out.
    shape as unknown as Schema<Content, Content>,
    {
      type: 'object',
      properties: {
        content: { type: 'array', items: { type: 'object', required: ['type'] } },
        ...(structured !== undefined && { structuredContent: structured }),
      },
      required: structured === undefined ? ['content'] : ['content', 'structuredContent'],
      [MARK]: true,
    },
  );
}

/** Does an output schema promise content blocks? */
export function isContentOutput(outputSchema: JsonSchema): boolean {
  return outputSchema[MARK] === true;
}
