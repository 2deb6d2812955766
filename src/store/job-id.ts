import { hash, randomBytes } from 'node:crypto';

const ID_BYTES = 16;
// One call to the random source serves 128 ids.
const POOL_BYTES = 128 * ID_BYTES;
let pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/**
 * `job_` + 8 hex of the client + 12 hex of the time + 128 random bits. Unguessable (docs/protocol.md §6);
 * and since ids sort by client and then by time, one index serves look-ups and lists, and grows at its ends.
 */
export function newJobId(clientId: string, nowMs: number): string {
  if (used === POOL_BYTES) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  const random = pool.toString('base64url', used, used + ID_BYTES);
  used += ID_BYTES;
  return `${jobIdPrefix(clientId)}${nowMs.toString(16).padStart(12, '0')}${random}`;
}

/** When the job of an id was created. */
export function createdMsOf(id: string): number {
  const begin = 'job_'.length + 8;
  return Number.parseInt(id.slice(begin, begin + 12), 16);
}

/** What all ids of a client start with; another client's may start with it too. */
export function jobIdPrefix(clientId: string): string {
  if (clientId !== last.clientId) {
    last = { clientId, prefix: `job_${hash('sha256', clientId, 'hex').slice(0, 8)}` };
  }
  return last.prefix;
}

/** Jobs come in runs of one client. */
let last = { clientId: '', prefix: '' };
