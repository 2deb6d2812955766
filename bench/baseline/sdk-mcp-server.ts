/** The official SDK's stateless handler with the same one tool, as its documentation sets it up. */
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

const inputSchema = z.object({ numbers: z.array(z.number()).min(1) });
const outputSchema = z.object({ count: z.number(), total: z.number() });

export function startSdkServer(): Promise<number> {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: 'baseline', version: '1.0.0' }, { capabilities: { tools: {} } });
    server.registerTool('batch_sum', { description: 'Sums', inputSchema, outputSchema }, ({ numbers }) => {
      const structuredContent = { count: numbers.length, total: numbers.reduce((a, b) => a + b, 0) };
      return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent };
    });
    return server;
  });
  const handle = toNodeHandler(handler);
  const server = createServer((request, response) => {
    // Its own type of a request, which node:http's is but for members that may be undefined.
    void handle(request as Parameters<typeof handle>[0], response);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      // A TCP server that listens has an address with a port.
      resolve((server.address() as { port: number }).port);
    });
  });
}
