/**
 * A process of its own: one server under load. Arguments: `waybill`, `replica` (its client is there) or `minimal`,
 * and the URL of its store. Sends its port.
 */
import { createServer, listen } from '../src/transports/index.ts';
import exampleTools from '../src/cli/example-tools.ts';
import { startMinimalServer } from './baseline/minimal-server.ts';
import { BENCH_CLIENT } from './support.ts';

const [kind, store = ''] = process.argv.slice(2);

async function start(): Promise<number> {
  const { serverId, clientId, keys } = BENCH_CLIENT;
  if (kind === 'minimal') return startMinimalServer(keys, serverId);
  const server = await createServer({ tools: exampleTools, store, serverId });
  const { port, url } = await listen(server);
  if (kind === 'waybill') await server.addClient({ id: clientId, url, keys });
  return port;
}

process.send?.({ port: await start() });
process.on('message', () => process.send?.({ cpu: process.cpuUsage() }));
