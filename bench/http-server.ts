/**
 * A process of its own: one server under load. Arguments: `minimal`, `waybill`, `replica` (its client is there),
 * `audited`, `limited` or `trusted` (both), and the URL of its store. Sends its port.
 */
import { createServer, listen } from '../src/transports/index.ts';
import exampleTools from '../src/cli/serve/example-tools.ts';
import { startMinimalServer } from './baseline/minimal-server.ts';
import { BENCH_CLIENT } from './support.ts';

const [kind, store = ''] = process.argv.slice(2);

async function start(): Promise<number> {
  const { serverId, clientId, keys } = BENCH_CLIENT;
  if (kind === 'minimal') return startMinimalServer(keys, serverId);
  // What is measured against a server without an audit has none either.
  const audit = kind === 'audited' || kind === 'trusted';
  const server = await createServer({ tools: exampleTools, store, serverId, audit });
  const { port, url } = await listen(server);
  const terms =
    kind === 'trusted' || kind === 'limited' ? { scopes: ['batch_*'], callsPerMinute: 100_000_000 } : {};
  if (kind !== 'replica') await server.addClient({ id: clientId, url, keys, terms });
  return port;
}

process.send?.({ port: await start() });
process.on('message', () => process.send?.({ cpu: process.cpuUsage() }));
