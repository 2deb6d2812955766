import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Place } from './keeper.ts';
import { type Program, type Service, startService, type User } from './service.ts';

/** Durable as a new cluster is: fsync, full_page_writes and synchronous_commit stay on. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '32MB',
  // In the data folder, where it goes with the rest after kill -9.
  dynamic_shared_memory_type: 'mmap',
};

/** Where the folders of versions are, for those who have none on PATH: Debian, Homebrew on ARM and on Intel. */
const VERSION_PARENTS = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt'];

/**
 * A PostgreSQL cluster of its own; in its URL a superuser, with a password: any user of this machine could
 * otherwise run programs through it.
 *
 * @param settings of postgresql.conf, before ours
 * @throws when it cannot be had or does not start
 */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<Service> {
  const bin = findPostgres();
  if (bin === undefined) throw new Error('there is no PostgreSQL on this machine');
  return startService({
    name: 'PostgreSQL',
    // Immediate shutdown: no data is written back, but shared memory is given back.
    endSignal: 'SIGQUIT',
    prepare: (place) => createCluster(bin, place, { ...SETTINGS, ...settings }),
  });
}

/** The folder of initdb and postgres: on PATH, else the newest version in the usual places. */
export function findPostgres(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter);
  const versions = VERSION_PARENTS.filter(existsSync).flatMap((parent) =>
    readdirSync(parent).flatMap((name) => {
      const version = /^(?:postgresql@)?(\d+)$/.exec(name)?.[1];
      return version === undefined ? [] : [{ bin: join(parent, name, 'bin'), version: Number(version) }];
    }),
  );
  const newestFirst = versions.sort((a, b) => b.version - a.version).map(({ bin }) => bin);
  return [...onPath, ...newestFirst].find(
    (folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')),
  );
}

async function createCluster(
  bin: string,
  { folder, port }: Place,
  settings: Readonly<Record<string, string>>,
): Promise<Program> {
  const user = unprivilegedUser();
  const password = randomBytes(16).toString('hex');
  const passwordFile = join(folder, 'password');
  const data = join(folder, 'data');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user !== undefined) for (const path of [folder, passwordFile]) chownSync(path, user.uid, user.gid);
  const options = [
    '--username=waybill',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
  ];
  await promisify(execFile)(
    join(bin, 'initdb'),
    [...options, '--no-locale', '--no-sync', '--no-instructions', '-D', data],
    { cwd: folder, env: { ...process.env, TZ: 'UTC' }, ...user },
  );
  return {
    url: `postgres://waybill:${password}@127.0.0.1:${port}/postgres`,
    command: join(bin, 'postgres'),
    args: [
      '-D',
      data,
      '-p',
      String(port),
      ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`),
    ],
    ...(user === undefined ? {} : { user }),
  };
}

/** PostgreSQL refuses to run as root: then whom to run it as. */
function unprivilegedUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8');
  for (const name of ['postgres', 'nobody']) {
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(users) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL does not run as root, and /etc/passwd has neither postgres nor nobody');
}
