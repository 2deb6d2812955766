import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { DEFAULT_PORT } from '../../src/cli/options.ts';
import { createProgram } from '../../src/cli/program.ts';
import { HTTP_LIMITS, MCP_LIMITS, SERVER_LIMITS } from '../../src/limits.ts';
import { CALL_PATH } from '../../src/transports/http-routes.ts';

/** No Docker is needed here: what can be read from the files, and what they say of the program. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEPLOY = join(ROOT, 'deploy');
const read = (name: string) => readFileSync(join(DEPLOY, name), 'utf8');

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks: readonly string[];
  readonly secrets?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly healthcheck: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly restart?: string;
  readonly stop_grace_period?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { internal?: boolean } | null>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

// Each test below fails if it has another shape.
const COMPOSE = parse(read('compose.yaml'), { merge: true }) as Compose;
const SERVICES = Object.entries(COMPOSE.services);
const OURS = SERVICES.filter(([, { image }]) => image === 'waybill');

function leaves(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

/** Parses a command line as the program does, without running anything. */
async function parseCommand(words: readonly string[]): Promise<void> {
  const program = createProgram();
  for (const leaf of leaves(program)) leaf.exitOverride().action(() => {});
  await program.parseAsync([...words], { from: 'user' });
}

const VARIABLES = new Set(
  leaves(createProgram()).flatMap(({ options }) => options.map(({ envVar }) => envVar)),
);

describe('deploy/compose.yaml', () => {
  test('has two servers, two workers, both services and a proxy', () => {
    const verbs = OURS.map(([name, { command = [] }]) => [name, command[0], command.includes('--no-worker')]);
    expect(verbs).toEqual([
      ['server-a', 'serve', true],
      ['server-b', 'serve', true],
      ['worker', 'worker', false],
    ]);
    expect(COMPOSE.services['worker']).toMatchObject({ deploy: { replicas: 2 } });
    expect(Object.keys(COMPOSE.services)).toEqual(expect.arrayContaining(['proxy', 'postgres', 'redis']));
  });

  test.each(OURS)('gives %s a command line and variables that the program takes', async (_, service) => {
    for (const [name, value] of Object.entries(service.environment ?? {})) {
      expect(VARIABLES).toContain(name);
      vi.stubEnv(name, String(value));
    }
    await parseCommand(service.command ?? []).finally(() => vi.unstubAllEnvs());
  });

  test('gives servers and workers the same store, queue, tools and server id', () => {
    const [first, ...others] = OURS.map(([, { environment, secrets, volumes }]) => ({
      environment,
      secrets,
      volumes,
    }));
    for (const other of others) expect(other).toEqual(first);
    expect(first?.environment).toMatchObject({ WAYBILL_STORE_FILE: '/run/secrets/store_url' });
  });

  test.each(OURS)('leaves %s time to drain and to let go of what hangs', (_, service) => {
    const drainMs = Number(service.environment?.['WAYBILL_DRAIN_MS']);
    const graceMs = Number(/^(\d+)s$/.exec(service.stop_grace_period ?? '')?.[1]) * 1000;
    // Worker, sweeper, queue and store, one after the other.
    expect(graceMs).toBeGreaterThan(drainMs + 4 * SERVER_LIMITS.closeMs);
  });

  test.each(SERVICES)(
    'pins the image of %s, restarts it, and says how it is seen to be well',
    (_, service) => {
      expect(service.image).toMatch(/^waybill$|^[a-z/]+:\d+\.\d+[.\w-]*$/);
      expect(service.restart).toBe('unless-stopped');
      expect(service.healthcheck.test !== undefined || service.healthcheck.disable).toBe(true);
    },
  );

  test('publishes the port of the proxy, on loopback, and nothing else', () => {
    const published = SERVICES.filter(([, { ports = [] }]) => ports.length > 0);
    expect(published.map(([name, { ports }]) => [name, ports])).toEqual([
      ['proxy', [`127.0.0.1:${DEFAULT_PORT}:${DEFAULT_PORT}`]],
    ]);
  });

  test('says that servers, which listen on every address of theirs, are behind the proxy', () => {
    expect(read('Dockerfile')).toContain('WAYBILL_HOST=0.0.0.0');
    for (const name of ['server-a', 'server-b'])
      expect(COMPOSE.services[name]?.environment).toMatchObject({ WAYBILL_BEHIND_PROXY: 'true' });
  });

  test('keeps database and Redis away from all but servers and workers', () => {
    const inside = SERVICES.filter(([, { networks }]) => networks.includes('back')).map(([name]) => name);
    expect(inside).toEqual([...OURS.map(([name]) => name), 'postgres', 'redis']);
    expect(COMPOSE.networks['back']).toEqual({ internal: true });
    for (const name of ['postgres', 'redis']) expect(COMPOSE.services[name]?.networks).toEqual(['back']);
  });

  test('runs a Redis that servers do not refuse', () => {
    const { command = [] } = COMPOSE.services['redis'] ?? {};
    const setting = (name: string) => command[command.indexOf(`--${name}`) + 1];
    expect([setting('appendonly'), setting('maxmemory-policy')]).toEqual(['yes', 'noeviction']);
  });

  test('names only what is there', () => {
    for (const [, service] of SERVICES) {
      for (const [from = ''] of (service.volumes ?? []).map((each) => each.split(':'))) {
        if (from.startsWith('.')) expect(join(DEPLOY, from)).toSatisfy(existsSync);
        else expect(COMPOSE.volumes).toHaveProperty(from);
      }
      for (const network of service.networks) expect(COMPOSE.networks).toHaveProperty(network);
      for (const secret of service.secrets ?? []) expect(COMPOSE.secrets).toHaveProperty(secret);
      for (const other of Object.keys(service.depends_on ?? {}))
        expect(COMPOSE.services).toHaveProperty(other);
      if (service.build !== undefined) {
        const { context, dockerfile } = service.build;
        expect(existsSync(join(DEPLOY, context, dockerfile))).toBe(true);
      }
    }
    const tools = OURS.map(([, { command = [] }]) => command[1] ?? '');
    for (const tool of tools) {
      expect(existsSync(join(ROOT, 'examples/quickstart', tool.replace('/tools/', '')))).toBe(true);
    }
  });

  test('keeps its secrets in files that git does not', () => {
    const files = Object.values(COMPOSE.secrets).map(({ file }) => file);
    for (const file of files) expect(file).toMatch(/^\.\/secrets\/\w+$/);
    expect(read('.gitignore')).toContain('secrets/\n');
  });
});

describe('deploy/Dockerfile', () => {
  const dockerfile = read('Dockerfile');
  const own = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

  test('installs what is optional, in the versions that are tested', () => {
    const installed = [
      ...dockerfile.matchAll(/(?<= )(pg|bullmq|ioredis|@modelcontextprotocol\/\w+)@(\S+)/g),
    ].map(([, name, version]) => [name, version]);
    const { pg, bullmq, ioredis } = own.devDependencies;
    // SQLite is in Node.
    const { 'better-sqlite3': _, ...sdk } = own.optionalDependencies;
    expect(Object.fromEntries(installed)).toEqual({ pg, bullmq, ioredis, ...sdk });
    expect(Object.keys(own.peerDependencies).sort()).toEqual(['bullmq', 'ioredis', 'pg']);
  });

  test('copies what is there and what its .dockerignore lets through', () => {
    const letThrough = read('Dockerfile.dockerignore').match(/(?<=^!).+$/gm) ?? [];
    const copied = [...dockerfile.matchAll(/^COPY (?!--)(.+) \S+$/gm)].flatMap(([, names = '']) =>
      names.split(' '),
    );
    expect(copied.length).toBeGreaterThan(4);
    expect(new Set(copied)).toEqual(new Set(letThrough));
    for (const name of copied) expect(join(ROOT, name)).toSatisfy(existsSync);
  });

  test('runs one pinned Node, as no root, on the port and the paths of the program', () => {
    const images = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image = '']) => image);
    expect(new Set(images).size).toBe(1);
    expect(images[0]).toMatch(/^node:\d+\.\d+\.\d+-/);
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).toContain(`EXPOSE ${DEFAULT_PORT}\n`);
    expect(dockerfile).toContain(`http://127.0.0.1:${DEFAULT_PORT}/livez`);
    expect(dockerfile).toContain(`/app/${own.bin.waybill} `);
    for (const [variable] of dockerfile.matchAll(/WAYBILL_\w+/g)) expect(VARIABLES).toContain(variable);
  });
});

describe('deploy/haproxy.cfg', () => {
  const config = read('haproxy.cfg');
  const seconds = (name: string) =>
    Number(new RegExp(`^\\s+timeout ${name} (\\d+)s$`, 'm').exec(config)?.[1]);

  test('waits longer than a server may hold a reply, and lets go of idle connections first', () => {
    for (const side of ['client', 'server']) {
      expect(seconds(side) * 1000).toBeGreaterThan(
        Math.max(
          SERVER_LIMITS.maxWaitMs,
          SERVER_LIMITS.directTimeoutMs,
          MCP_LIMITS.waitMs,
          HTTP_LIMITS.streamAliveMs,
        ),
      );
      expect(seconds(side) * 1000).toBeLessThan(HTTP_LIMITS.keepAliveTimeoutMs);
    }
    expect(seconds('check') * 1000).toBeGreaterThan(SERVER_LIMITS.readyMs);
  });

  test('passes on calls and health, and gets its addresses from compose.yaml', () => {
    expect(config).toContain(`unless { path ${CALL_PATH} /mcp /livez /readyz }`);
    const variables = new Set([...config.matchAll(/"\$\{(\w+)\}"/g)].map(([, name]) => name));
    expect(variables).toEqual(new Set(Object.keys(COMPOSE.services['proxy']?.environment ?? {})));
    for (const name of ['a', 'b']) {
      expect(COMPOSE.services['proxy']?.environment).toHaveProperty(
        `SERVER_${name.toUpperCase()}`,
        `server-${name}:${DEFAULT_PORT}`,
      );
    }
  });
});
