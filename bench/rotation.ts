import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Client, createClient, type Credential } from '../src/client/index.ts';
import { fetchTransport, type Transport } from '../src/client/transport.ts';
import { CLI_MAIN, type Line, withFolder } from './support.ts';

const CALLS_A_SECOND = 1_000;
/** Before the rotation, with both credentials, and after the old one is gone. */
const STAGE_MS = 3_000;
const TICK_MS = 5;

/** Calls that are begun at a fixed rate, whatever becomes of them, while their client is rotated. */
export async function benchRotation(): Promise<Line[]> {
  return withFolder(async (cwd) => {
    const server = spawn(process.execPath, [CLI_MAIN, 'serve', '--port', '0'], {
      cwd,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = (await once(server.stdout, 'data')) as [Buffer];
      const url = /http:[^\s,]+/.exec(line.toString())?.[0];
      if (url === undefined) throw new Error(`serve says ${line.toString()}`);
      return [await rotate(cwd, url)];
    } finally {
      const exit = once(server, 'exit');
      server.kill();
      await exit;
    }
  });
}

async function rotate(cwd: string, url: string): Promise<Line> {
  const verb = (...args: string[]) =>
    promisify(execFile)(process.execPath, [CLI_MAIN, 'clients', ...args], { cwd });
  const transport = fetchTransport(url);
  let sent = 0;
  const counted: Transport = (...args) => {
    sent++;
    return transport(...args);
  };
  const clientOf = (file: string): Client => {
    // Written by `clients add` or `clients rotate` a moment ago.
    const credential = JSON.parse(readFileSync(join(cwd, file), 'utf8')) as Credential;
    return createClient(credential, { transport: counted });
  };
  await verb('add', 'a', '--url', url, '--out', 'old.json');
  const before = clientOf('old.json');
  await before.call('batch_sum', { numbers: [1] });
  sent = 0;
  const load = startLoad(before);
  try {
    await sleep(STAGE_MS);
    await verb('rotate', 'a', '--url', url, '--out', 'new.json');
    const after = clientOf('new.json');
    load.use(before, after);
    await sleep(STAGE_MS);
    load.use(after);
    await verb('rotate', 'a', '--finish');
    await sleep(STAGE_MS);
  } finally {
    load.end();
  }
  const { calls, failed, seconds } = await load.result();
  const perSecond = calls / seconds;
  return {
    what: 'calls while their client is rotated',
    ours: `${perSecond.toFixed(0)}/s, ${failed} of ${calls} failed`,
    baseline: `${sent - calls} sent twice`,
    figure: '',
    target: `0 at ${CALLS_A_SECOND}/s`,
    ok: failed === 0 && perSecond >= 0.99 * CALLS_A_SECOND,
  };
}

function startLoad(first: Client) {
  let clients: readonly Client[] = [first];
  let begun = 0;
  let failed = 0;
  const running = new Set<Promise<void>>();
  const startMs = performance.now();
  const begin = () => {
    const n = begun++;
    const call: Promise<void> = (clients[n % clients.length] ?? first)
      .call<{ readonly total: number }>('batch_sum', { numbers: [n, 1] })
      .then(({ total }) => void (total !== n + 1 && failed++))
      .catch(() => void failed++)
      .finally(() => running.delete(call));
    running.add(call);
  };
  const timer = setInterval(() => {
    while (begun < ((performance.now() - startMs) / 1_000) * CALLS_A_SECOND) begin();
  }, TICK_MS);
  return {
    use(...others: readonly Client[]): void {
      clients = others;
    },
    end(): void {
      clearInterval(timer);
    },
    async result() {
      await Promise.all(running);
      return { calls: begun, failed, seconds: (performance.now() - startMs) / 1_000 };
    },
  };
}
