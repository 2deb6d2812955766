import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineTool } from '../../tools/index.ts';

/** The published demo tools (docs/protocol.md §7), served when `waybill serve` is given no module. */

const batchSum = defineTool({
  name: 'batch_sum',
  description: 'Adds numbers.',
  annotations: { title: 'Sum', readOnlyHint: true },
  input: z.strictObject({ numbers: z.array(z.number()).min(1) }),
  output: z.strictObject({ count: z.int(), total: z.number() }),
  run: ({ numbers }) => ({ count: numbers.length, total: numbers.reduce((sum, number) => sum + number, 0) }),
});

const STEPS_PER_SECOND = 4;

const startLongTask = defineTool({
  name: 'start_long_task',
  description: 'Works for 1 to 20 seconds, reports progress, and gives its payload back.',
  annotations: { title: 'Long task' },
  input: z.strictObject({
    seconds: z.number().min(1).max(20),
    payload: z.record(z.string(), z.unknown()).default({}),
  }),
  output: z.record(z.string(), z.unknown()),
  job: true,
  async run({ seconds, payload }, { signal, progress }) {
    const total = Math.round(seconds * STEPS_PER_SECOND);
    for (let completed = 0; completed < total; completed++) {
      progress({ completed, total });
      await sleep((seconds * 1_000) / total, undefined, { signal });
    }
    progress({ completed: total, total });
    return payload;
  },
});

export default [batchSum, startLongTask];
