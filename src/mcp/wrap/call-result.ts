import { ToolError } from '../../errors/index.ts';
import { MESSAGE_LIMITS, type MessageLimits } from '../../limits.ts';
import type { Content } from '../../tools/index.ts';
import { asResult, isObject } from '../../wire/index.ts';
import type { ForeignTool } from './foreign-tool.ts';
import type { CallResult } from './session.ts';

/**
 * What a call gave, as a tool returns it: the blocks as they came, and the structure if it is an object.
 *
 * @throws ToolError when the foreign tool says that it failed, breaks its promise, or gives more than a reply carries
 */
export function contentOf(
  result: CallResult,
  tool: Pick<ForeignTool, 'outputSchema'>,
  limits: MessageLimits = MESSAGE_LIMITS,
): Content {
  const { content, structuredContent, isError } = result;
  if (isError === true) throw new ToolError(textOf(content));
  if (!isObject(structuredContent) && tool.outputSchema !== undefined)
    throw new ToolError(
      'the wrapped tool did not return the structuredContent that its outputSchema promises',
    );
  const given = { content, ...(isObject(structuredContent) && { structuredContent }) };
  try {
    asResult(given, limits);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ToolError(`no reply can carry what the wrapped tool returned: ${why}`, { cause: error });
  }
  return given;
}

/** Why it failed, for whoever called: the text, and of other blocks their kind. */
function textOf(content: CallResult['content']): string {
  const texts = content.map(({ type, ...block }) =>
    type === 'text' && typeof block['text'] === 'string' ? block['text'] : `[${type}]`,
  );
  const text = texts.join('\n').trim();
  return text === '' ? 'the wrapped tool failed and did not say why' : text;
}
