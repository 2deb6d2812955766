import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import type { Service } from './service.ts';

/** The servers that all test files share. Ask `<url>postgres` or `<url>redis` for the URL of one. */
export interface Hub {
  readonly url: string;
  /** Ends what was started. */
  close(): Promise<void>;
}

const SHARED: Readonly<Record<string, { variable: string; start: () => Promise<Service> }>> = {
  postgres: { variable: 'WAYBILL_TEST_POSTGRES', start: startPostgres },
  redis: { variable: 'WAYBILL_TEST_REDIS', start: startRedis },
};

/** Starts a server when it is first asked for, so that a run of tests that need none is not slowed down. */
export async function openHub(): Promise<Hub> {
  const started = new Map<string, Promise<Service>>();
  // Its answers have passwords: only who was told the path gets any.
  const path = `/${randomUUID()}/`;

  const urlOf = async (asked: string): Promise<string> => {
    const name = asked.startsWith(path) ? asked.slice(path.length) : '';
    const shared = SHARED[name];
    if (shared === undefined) throw new Error('nothing is here');
    const given = process.env[shared.variable];
    if (given !== undefined) return given;
    const service = started.get(name) ?? shared.start();
    started.set(name, service);
    return (await service).url;
  };

  const server = createServer((request, response) => {
    urlOf(request.url ?? '').then(
      (url) => response.end(url),
      (error: unknown) => response.writeHead(503).end(String(error)),
    );
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  // A server on TCP has an address with a port.
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    async close() {
      server.close();
      server.closeAllConnections();
      const services = await Promise.allSettled(started.values());
      for (const service of services) if (service.status === 'fulfilled') await service.value.stop();
    },
  };
}
