import { randomBytes } from 'node:crypto';

/**
 * `job_` + milliseconds in hex + 128 random bits: unguessable (docs/protocol.md §6), and in the order
 * of creation, so that an index over ids grows at its end.
 */
export function newJobId(nowMs: number): string {
  if (used === POOL_BYTES) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  const random = pool.toString('base64url', used, used + ID_BYTES);
  used += ID_BYTES;
  return `job_${nowMs.toString(16).padStart(12, '0')}${random}`;
}

const ID_BYTES = 16;
// One call to the random source serves 128 ids.
const POOL_BYTES = 128 * ID_BYTES;
let pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;
