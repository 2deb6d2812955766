/** A process of its own: `/mcp` under load. Arguments: `waybill` and the URL of its store, or `sdk`. Sends port and token. */
import { z } from 'zod';
import exampleTools from '../src/cli/serve/example-tools.ts';
import { defineTool } from '../src/index.ts';
import { mcpRoute } from '../src/mcp/index.ts';
import { createServer, listen } from '../src/transports/index.ts';
import { startSdkServer } from './baseline/sdk-mcp-server.ts';
import { BENCH_CLIENT } from './support.ts';

const [kind, store = ''] = process.argv.slice(2);

const echoJob = defineTool({
  name: 'echo_job',
  description: 'Gives back what it is given',
  input: z.strictObject({ text: z.string() }),
  output: z.strictObject({ text: z.string() }),
  job: true,
  run: ({ text }) => ({ text }),
});

async function start(): Promise<{ port: number; token: string }> {
  if (kind === 'sdk') return { port: await startSdkServer(), token: '' };
  const { serverId, clientId, keys } = BENCH_CLIENT;
  const server = await createServer({ tools: [...exampleTools, echoJob], store, serverId });
  const { port, url } = await listen(server, { routes: [mcpRoute(server)] });
  await server.addClient({ id: clientId, url, keys });
  return { port, token: await server.addToken(clientId) };
}

process.send?.(await start());
process.on('message', () => process.send?.({ cpu: process.cpuUsage() }));
