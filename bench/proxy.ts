import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createClient } from '../src/client/index.ts';
import { start } from './http.ts';
import { BENCH_CLIENT, CLI_MAIN, type Line, median, withFolder } from './support.ts';

const CALLS = 2_000;
const WARM_UP = 500;

/**
 * What `waybill connect` costs a host: the time of one call through it, minus that of the same call by a client
 * that signs itself, one after the other on loopback.
 */
export async function benchProxy(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const server = await start('waybill', `sqlite:${join(dir, 'data')}`);
    const { serverId, clientId, keys } = BENCH_CLIENT;
    const credential = {
      client_id: clientId,
      server_id: serverId,
      url: `http://127.0.0.1:${server.port}/call`,
      request_key: keys.request,
      response_key: keys.response,
    };
    const file = join(dir, 'bench.json');
    writeFileSync(file, JSON.stringify(credential), { mode: 0o600 });
    const client = createClient(credential);
    const proxy = startProxy(file);
    const direct = () => client.call('batch_sum', { numbers: [1, 2, 3] });
    const pairs: { readonly direct: number; readonly proxied: number }[] = [];
    await timed(direct, WARM_UP);
    await timed(proxy.call, WARM_UP);
    // In turns: what else runs on the machine falls on both.
    for (let i = 0; i < CALLS; i++)
      pairs.push({ direct: await once(direct), proxied: await once(proxy.call) });
    proxy.end();
    server.child.kill();
    const added = median(pairs.map((pair) => pair.proxied)) - median(pairs.map((pair) => pair.direct));
    return [
      {
        what: 'a call through waybill connect, p50, idle',
        ours: `${median(pairs.map((pair) => pair.proxied)).toFixed(2)} ms`,
        baseline: `${median(pairs.map((pair) => pair.direct)).toFixed(2)} ms signed by the client itself`,
        figure: `+${added.toFixed(2)} ms`,
        target: '< 2 ms',
        ok: added < 2,
      },
    ];
  });
}

async function once(call: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await call();
  return performance.now() - startMs;
}

async function timed(call: () => Promise<unknown>, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await call();
}

/** A host's end of `waybill connect`: one request a line, answers by their id. */
function startProxy(credential: string) {
  const child = spawn(process.execPath, [CLI_MAIN, 'connect', '--credential', credential], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let id = 0;
  const waiting = new Map<number, (text: string) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    // Ours ask for one thing at a time, and every answer has an id.
    const answer = JSON.parse(line) as { id: number };
    waiting.get(answer.id)?.(line);
    waiting.delete(answer.id);
  });
  const params = {
    name: 'batch_sum',
    arguments: { numbers: [1, 2, 3] },
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  };
  return {
    call(): Promise<void> {
      id += 1;
      const own = id;
      return new Promise((resolve, reject) => {
        waiting.set(own, (text) =>
          text.includes('"total":6') ? resolve() : reject(new Error(`not the sum: ${text}`)),
        );
        child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: own, method: 'tools/call', params })}\n`);
      });
    },
    end: () => void child.kill(),
  };
}
