import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mcpRoute } from '../../src/mcp/index.ts';
import { createServer, listen } from '../../src/transports/index.ts';
import { FIXTURE_TOOLS } from './fixture-tools.ts';

export interface Fixture {
  /** Of the Model Context Protocol, like `http://127.0.0.1:8080/mcp`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Serves the fixture tools on a free port of this machine, to anyone on it, from a folder that goes with it. */
export async function startFixture(): Promise<Fixture> {
  const folder = mkdtempSync(join(tmpdir(), 'waybill-mcp-fixture-'));
  const quiet = () => {};
  const server = await createServer({
    tools: FIXTURE_TOOLS,
    store: `sqlite:${folder}`,
    serverId: 'mcp-fixture',
    // Tools that fail on purpose would fill the terminal.
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    drainMs: 0,
  });
  await server.addClient({ id: 'fixture', url: 'http://127.0.0.1:9/call' });
  const listener = await listen(server, { routes: [mcpRoute(server, { anonymous: 'fixture' })] });
  return {
    url: new URL('/mcp', listener.url).href,
    async close() {
      await Promise.all([listener.close(), server.close()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
