/** A process of its own: a million calls through `handle`. Argument: folder. Sends what memory they took. */
import exampleTools from '../src/cli/serve/example-tools.ts';
import { createServer } from '../src/server/index.ts';
import { BENCH_CLIENT, signedRequest } from './support.ts';

const CALLS = 1_000_000;
/** Before it, V8 is still growing its heap to a size that suits the load. */
const WARM_UP = 200_000;
const AT_ONCE = 64;

const { serverId, clientId, keys } = BENCH_CLIENT;
const server = await createServer({ tools: exampleTools, store: `sqlite:${process.argv[2]}`, serverId });
await server.addClient({ id: clientId, url: 'in-process:', keys });

async function call(): Promise<void> {
  const { httpStatus, body } = await server.handle(Buffer.from(signedRequest()));
  if (httpStatus !== 200) throw new Error(body);
}

/** Resident bytes beyond what the nonce guard holds, after a full collection. */
function measure() {
  globalThis.gc?.();
  return { rss: process.memoryUsage.rss(), guard: server.stats() };
}

let atWarmUp = measure();
for (let done = 0; done < CALLS; done += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, call));
  if (done < WARM_UP && done + AT_ONCE >= WARM_UP) atWarmUp = measure();
}
process.send?.({ atWarmUp, atEnd: measure(), calls: CALLS - WARM_UP });
await server.close();
process.disconnect?.();
