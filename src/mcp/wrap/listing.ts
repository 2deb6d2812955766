import type { Client } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { WRAP_LIMITS } from './limits.ts';

/** One bad tool must not hide the others, so each is looked at by itself later. */
const page = z.looseObject({ tools: z.array(z.unknown()), nextCursor: z.string().optional() });

/**
 * All tools of a foreign server as it describes them: every page of `tools/list`.
 *
 * @throws Error when there is no end of them, or what the client throws
 */
export async function listAll(
  client: Client,
  options: { timeout: number; signal: AbortSignal },
): Promise<readonly unknown[]> {
  const tools: unknown[] = [];
  const seen = new Set<string>();
  for (let cursor: string | undefined; ; ) {
    const params = cursor === undefined ? {} : { cursor };
    const { tools: some, nextCursor } = await client.request({ method: 'tools/list', params }, page, options);
    tools.push(...some);
    if (tools.length > WRAP_LIMITS.maxTools)
      throw new Error(`it has more than ${WRAP_LIMITS.maxTools} tools`);
    if (nextCursor === undefined) return tools;
    if (seen.has(nextCursor) || seen.size >= WRAP_LIMITS.maxPages)
      throw new Error('its list of tools has no end');
    seen.add(nextCursor);
    cursor = nextCursor;
  }
}
