import { z } from 'zod';
import { mcpRoute } from '../../src/mcp/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import { createServer, listen } from '../../src/transports/index.ts';
import tools from '../system/tools.mjs';

/** A server of the Model Context Protocol in a process of its own: `jiti durable-main.ts <folder> <server id>`. */

const [folder, serverId] = process.argv.slice(2);
if (folder === undefined || serverId === undefined)
  throw new TypeError('durable-main.ts <folder> <server id>');

const askName = defineTool({
  name: 'ask_name',
  description: 'Asks for a name, however often its process is killed meanwhile.',
  input: z.strictObject({}),
  output: z.strictObject({ name: z.string() }),
  job: { attempts: 50, backoffMs: 10 },
  async run(_, context) {
    const NAME = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };
    const { name } = await context.ask({ name: { message: 'What is your name?', schema: NAME } });
    return { name: String(name?.content?.['name']) };
  },
});

const server = await createServer({ tools: [...tools, askName], store: `sqlite:${folder}`, serverId });
const listener = await listen(server, { routes: [mcpRoute(server)] });
process.stdout.write(`${JSON.stringify({ url: new URL('/mcp', listener.url).href })}\n`);
