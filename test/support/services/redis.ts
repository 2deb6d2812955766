import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Service, startService } from './service.ts';

const COMMANDS = ['redis-server', 'valkey-server'];

/** Loses at most the last second when the machine goes down, and nothing at kill -9. */
const SETTINGS = {
  bind: '127.0.0.1',
  appendonly: 'yes',
  appendfsync: 'everysec',
  save: '""',
  'maxmemory-policy': 'noeviction',
  // One for each test that asks.
  databases: '10000',
};

/**
 * A Redis of its own, with a password in its URL.
 *
 * @param settings of redis.conf, before ours
 * @throws when it cannot be had or does not start
 */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<Service> {
  const command = findRedis();
  if (command === undefined) throw new Error('there is no Redis on this machine');
  return startService({
    name: 'Redis',
    endSignal: 'SIGKILL',
    prepare({ folder, port }) {
      const password = randomBytes(16).toString('hex');
      const all = { ...SETTINGS, port: String(port), dir: folder, requirepass: password, ...settings };
      return {
        url: `redis://:${password}@127.0.0.1:${port}`,
        command,
        // Reads its settings from its input: arguments can be seen by every user of the machine.
        args: ['-'],
        input: Object.entries(all)
          .map(([name, value]) => `${name} ${value}\n`)
          .join(''),
      };
    },
  });
}

/** redis-server, or valkey-server, on PATH. */
export function findRedis(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return COMMANDS.flatMap((command) => folders.map((folder) => join(folder, command))).find(existsSync);
}
