/** Tools whose effects show: each run of a direct tool leaves a line in the file that EFFECTS_FILE names. */
import { appendFileSync, existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineTool } from 'waybill';
import { z } from 'zod';

const EFFECTS_FILE = process.env['EFFECTS_FILE'] ?? 'effects.txt';

/** @param {string} line */
function leaveEffect(line) {
  // One write, so it is there whole or not at all however this process ends.
  appendFileSync(EFFECTS_FILE, `${line}\n`);
}

let runs = 0;

const appendLine = defineTool({
  name: 'append_line',
  description:
    'Appends its request_id to a file, then stays busy for a while. Twice is not the same as once.',
  input: z.strictObject({ text: z.string(), busy_ms: z.int().min(0).default(0) }),
  output: z.strictObject({ text: z.string(), run: z.int(), pid: z.int() }),
  async run({ text, busy_ms }, { requestId }) {
    leaveEffect(requestId);
    runs++;
    const run = runs;
    if (busy_ms > 0) await sleep(busy_ms);
    return { text, run, pid: process.pid };
  },
});

const work = defineTool({
  name: 'work',
  description: 'Takes its steps, reports each, and gives back what only this job was asked for.',
  input: z.strictObject({ text: z.string(), steps: z.int().min(0), step_ms: z.int().min(0) }),
  output: z.strictObject({ text: z.string(), steps: z.int() }),
  // A job here meets more crashes than the default allows for.
  job: { attempts: 50, backoffMs: 10 },
  async run({ text, steps, step_ms }, { signal, progress, requestId }) {
    leaveEffect(`attempt ${requestId}`);
    for (let completed = 0; completed < steps; completed++) {
      progress({ completed, total: steps });
      await sleep(step_ms, undefined, { signal });
    }
    return { text, steps };
  },
});

const hold = defineTool({
  name: 'hold',
  description:
    'Runs until a file exists, whatever time that takes; one that is stubborn does not heed its signal.',
  input: z.strictObject({ gate: z.string(), stubborn: z.boolean() }),
  output: z.strictObject({ gate: z.string() }),
  job: { attempts: 50, backoffMs: 10 },
  async run({ gate, stubborn }, { signal, progress, requestId }) {
    leaveEffect(`attempt ${requestId}`);
    for (let looks = 0; !existsSync(gate); looks++) {
      progress({ completed: looks });
      await sleep(20, undefined, stubborn ? {} : { signal });
    }
    return { gate };
  },
});

// The server is started with a module of tools, which is what it exports by default.
// oxlint-disable-next-line import/no-default-export
export default [appendLine, work, hold];
