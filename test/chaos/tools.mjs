/** Tools whose every run leaves lines in the file that EFFECTS_FILE names. */
import { createHash, randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineTool, ToolError } from 'waybill';
import { z } from 'zod';

const EFFECTS_FILE = process.env['EFFECTS_FILE'] ?? 'effects.txt';

/** @param {(string | number)[]} words */
function leaveEffect(...words) {
  // One write, so it is there whole or not at all however this process ends.
  appendFileSync(EFFECTS_FILE, `${words.join(' ')}\n`);
}

/** Reports in this many steps. */
const STEPS = 3;

const work = defineTool({
  name: 'work',
  description: 'Takes its time, says which attempt it is, and gives back what only this job was asked for.',
  input: z.strictObject({
    text: z.string(),
    ms: z.int().min(0),
    how: z.enum(['ends', 'fails_once', 'fails']),
    stubborn: z.boolean(),
  }),
  output: z.strictObject({ digest: z.string(), fence: z.int() }),
  // A job here meets more crashes than the default allows for.
  job: { attempts: 100, backoffMs: 20 },
  async run({ text, ms, how, stubborn }, context) {
    const { signal, progress, requestId } = context;
    const { fence, attempt } = attemptOf(context);
    leaveEffect('start', requestId, fence, process.pid, Date.now());
    for (let completed = 0; completed < STEPS; completed++) {
      progress({ completed, total: STEPS, partial: { fence } });
      await sleep(ms / STEPS, undefined, stubborn ? {} : { signal });
    }
    if (how === 'fails_once' && attempt === 1) throw new ToolError('not at once', { retryable: true });
    const digest = createHash('sha256').update(text).digest('hex');
    leaveEffect('end', requestId, fence);
    if (how === 'fails') throw new ToolError(digest);
    return { digest, fence };
  },
});

/**
 * The number of its fence tells an attempt from all others of the job, and in which order they began. Tools are not
 * told of it, but what they are given has it.
 *
 * @param {object} context
 * @returns {{ fence: number, attempt: number }}
 */
function attemptOf(context) {
  const { attempt } = /** @type {{ attempt: { attempt: number, fence: { number: number } } }} */ (context);
  return { fence: attempt.fence.number, attempt: attempt.attempt };
}

const once = defineTool({
  name: 'once',
  description: 'Leaves a line. Twice is not the same as once.',
  input: z.strictObject({ text: z.string(), ms: z.int().min(0) }),
  output: z.strictObject({ text: z.string(), run: z.string() }),
  async run({ text, ms }, { requestId }) {
    leaveEffect('call', requestId, process.pid);
    if (ms > 0) await sleep(ms);
    return { text, run: randomUUID() };
  },
});

// The program is started with a module of tools, which is what it exports by default.
// oxlint-disable-next-line import/no-default-export
export default [work, once];
