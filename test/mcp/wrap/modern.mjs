/** A server of 2026-07-28 alone, made by the official SDK; run by itself it speaks on stdio. */
import { pathToFileURL } from 'node:url';
import { inputRequired, McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

export function modernServer() {
  const server = new McpServer({ name: 'modern', version: '1' });
  server.registerTool(
    'region',
    {
      description: 'Takes an argument that must stand in a header too.',
      inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }), n: z.number() }),
      outputSchema: z.object({ text: z.string() }),
      annotations: { readOnlyHint: true },
    },
    ({ region, n }) => {
      const structuredContent = { text: `${region} ${n}` };
      return { content: [{ type: 'text', text: structuredContent.text }], structuredContent };
    },
  );
  server.registerTool('asks', { description: 'Needs an answer.', inputSchema: z.object({}) }, () =>
    inputRequired({
      inputRequests: {
        name: inputRequired.elicit({
          message: 'Who are you?',
          requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
        }),
      },
    }),
  );
  return server;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  serveStdio(modernServer, { legacy: 'reject' });
