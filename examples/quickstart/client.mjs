import { readFileSync } from 'node:fs';
import { createClient, parseCredential } from 'waybill/client';

const client = createClient(parseCredential(readFileSync('alice.json', 'utf8')));

console.log(await client.call('count_words', { text: 'goods travel with a waybill' }));

const job = await client.start('render_report', { pages: 3 });
for await (const { state, progress } of job.updates()) {
  console.log(state, progress ? `${progress.completed} of ${progress.total}` : '');
}
console.log(await job.result());
