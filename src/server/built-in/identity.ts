import { z } from 'zod';
import { SERVER_LIMITS } from '../../limits.ts';
import { VERSIONS } from '../../wire/index.ts';
import { completed } from '../outcome.ts';
import type { BuiltIn } from '../registry.ts';
import { defineBuiltIn } from './define.ts';

/** `server_identity` (docs/protocol.md §7). */
export function serverIdentity(serverId: string, auditKey: string | null): BuiltIn {
  return defineBuiltIn({
    name: 'server_identity',
    description: 'Who this server is, which response key it holds, and what it can do.',
    annotations: { title: 'Server identity', readOnlyHint: true },
    input: z.strictObject({}),
    output: z.strictObject({
      server_id: z.string(),
      fingerprint: z.string().describe('First 32 hex digits of HMAC-SHA256(response key, "mcp fingerprint")'),
      audit_key: z
        .string()
        .nullable()
        .describe('Public key of the signatures in the audit; null: nothing is recorded'),
      capabilities: z.strictObject({
        async: z.literal(true),
        stateless: z.literal(true),
        versions: z.array(z.string()).describe('Values of v that this server speaks'),
        max_wait_ms: z.int().describe('Longest wait_ms of poll_job'),
      }),
    }),
    answer: (_args, { generation }) =>
      completed({
        server_id: serverId,
        fingerprint: generation.fingerprint,
        audit_key: auditKey,
        capabilities: {
          async: true,
          stateless: true,
          versions: VERSIONS,
          max_wait_ms: SERVER_LIMITS.maxWaitMs,
        },
      }),
  });
}
