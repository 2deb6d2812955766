import { z } from 'zod';

/** The steps of a request behind `request_id`, in their order (docs/protocol.md §4). */
export const EXPLAINED_STEPS = ['rate', 'quota', 'scope', 'policy', 'tool', 'args', 'run'] as const;

const USE = z.object({ used: z.int(), limit: z.int() });

/** What `explain_call` answers with (docs/protocol.md §7). */
export const EXPLANATION = z.object({
  key: z.enum(['current', 'previous']).describe('The generation of keys that the message was signed with'),
  expires_ms: z.int().nullable().describe('From when on the client is refused'),
  scopes: z.array(z.string()),
  window: z.object({ max_past_ms: z.int(), max_future_ms: z.int() }),
  limits: z.object({
    calls_per_minute: USE.nullable(),
    jobs_per_day: USE.nullable(),
    open_jobs: USE,
  }),
  refused_by: z.enum(EXPLAINED_STEPS).nullable().describe('The first step that refuses the call'),
  steps: z.array(
    z.object({
      step: z.enum(EXPLAINED_STEPS),
      ok: z.boolean().nullable().describe('null: not looked at, or not told'),
      code: z.string().nullable().describe('What the step refuses the call with'),
      detail: z.string(),
    }),
  ),
});

export type Explanation = z.infer<typeof EXPLANATION>;
