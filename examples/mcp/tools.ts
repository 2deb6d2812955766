import { setTimeout as sleep } from 'node:timers/promises';
import { defineTool } from 'waybill';
import { z } from 'zod';

const list = z.enum(['gardeners', 'sailors']);
const READERS = { gardeners: 60, sailors: 90 };

const countReaders = defineTool({
  name: 'count_readers',
  description: 'Counts the readers on a list.',
  input: z.object({ list }),
  output: z.object({ readers: z.int() }),
  annotations: { readOnlyHint: true },
  run: ({ list: name }) => ({ readers: READERS[name] }),
});

const sendNewsletter = defineTool({
  name: 'send_newsletter',
  description: 'Sends a newsletter to everybody on a list, once somebody has said so.',
  input: z.object({ list, subject: z.string() }),
  output: z.object({ sent: z.int() }),
  // A day: the person who is asked may be at lunch.
  job: { deadlineMs: 86_400_000 },
  async run({ list: name, subject }, { ask, progress, signal }) {
    const total = READERS[name];
    const { confirm } = await ask({
      confirm: {
        message: `Send "${subject}" to ${total} readers?`,
        schema: z.toJSONSchema(z.object({ sure: z.boolean() })),
      },
    });
    if (confirm?.action !== 'accept' || confirm.content?.['sure'] !== true) return { sent: 0 };
    for (let sent = 0; sent < total; sent += 30) {
      progress({ completed: sent, total, message: `sending to ${name}` });
      await sleep(1500, undefined, { signal });
    }
    return { sent: total };
  },
});

export default [countReaders, sendNewsletter];
