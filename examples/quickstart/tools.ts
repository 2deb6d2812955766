import { setTimeout as sleep } from 'node:timers/promises';
import { defineTool } from 'waybill';
import { z } from 'zod';

const countWords = defineTool({
  name: 'count_words',
  description: 'Counts the words of a text.',
  input: z.object({ text: z.string() }),
  output: z.object({ words: z.int() }),
  annotations: { readOnlyHint: true },
  run: ({ text }) => ({ words: text.split(/\s+/).filter(Boolean).length }),
});

const renderReport = defineTool({
  name: 'render_report',
  description: 'Renders a report, page by page.',
  input: z.object({ pages: z.int().min(1).max(100) }),
  output: z.object({ file: z.string() }),
  job: { attempts: 5, deadlineMs: 600_000 },
  async run({ pages }, { progress, signal }) {
    for (let page = 1; page <= pages; page++) {
      await sleep(200, undefined, { signal });
      progress({ completed: page, total: pages });
    }
    return { file: `report-of-${pages}-pages.pdf` };
  },
});

export default [countWords, renderReport];
