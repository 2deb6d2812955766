import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { load, type Target } from './load.ts';
import { type Line, median, thousands, withFolder } from './support.ts';

const CONNECTIONS = 64;
const CALLS = 20_000;
// The SDK takes its time for each.
const SDK_CALLS = 4_000;
const ROUNDS = 5;
const TASKS = 10_000;

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
};

function message(id: number, method: string, params: object, extensions: object = {}): string {
  const meta = { ...META, 'io.modelcontextprotocol/clientCapabilities': { extensions } };
  return JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } });
}

function batchSum(id: number): string {
  return message(id, 'tools/call', { name: 'batch_sum', arguments: { numbers: [1, 2.5, 1000] } });
}

interface Running {
  readonly child: ChildProcess;
  readonly port: number;
  readonly token: string;
}

async function start(kind: string, store: string): Promise<Running> {
  const child = fork(fileURLToPath(new URL('./mcp-server.js', import.meta.url)), [kind, store]);
  // What that file sends first.
  const [started] = (await once(child, 'message')) as [{ port: number; token: string }];
  return { child, ...started };
}

function headersFor(method: string, name: string, token: string): Record<string, string> {
  return {
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    'mcp-name': name,
    ...(token !== '' && { authorization: `Bearer ${token}` }),
  };
}

/** `tools/call` of a direct tool on 2026-07-28, against the official SDK's stateless handler. */
export async function benchMcp(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const ours = await start('waybill', `sqlite:${dir}`);
    const sdk = await start('sdk', '');
    await round(ours, CALLS);
    await round(sdk, SDK_CALLS);
    const pairs: { readonly ours: number; readonly sdk: number }[] = [];
    for (let i = 0; i < ROUNDS; i++)
      pairs.push({ ours: await round(ours, CALLS), sdk: await round(sdk, SDK_CALLS) });
    ours.child.kill();
    sdk.child.kill();
    const ratio = median(pairs.map((pair) => pair.ours / pair.sdk));
    return [
      {
        what: `tools/call over /mcp, ${CONNECTIONS} connections`,
        ours: thousands(median(pairs.map((pair) => pair.ours))),
        baseline: `${thousands(median(pairs.map((pair) => pair.sdk)))} official SDK, stateless`,
        figure: ratio.toFixed(1),
        target: '≥ 10',
        ok: ratio >= 10,
      },
    ];
  });
}

async function round({ port, token }: Running, calls: number): Promise<number> {
  const headers = Object.entries(headersFor('tools/call', 'batch_sum', token)).map(([k, v]) => `${k}: ${v}`);
  const target: Target = { port, path: '/mcp', headers, ok: '1003.5' };
  const bodies = Array.from({ length: calls }, (_, i) => batchSum(i));
  const { perSecond, notOk } = await load(target, bodies, CONNECTIONS);
  if (notOk > 0) throw new Error(`${notOk} of ${calls} calls were not answered with the sum`);
  return perSecond;
}

/** Tasks from `tools/call` to a `tasks/get` that says completed; each is a job on disk before its id is told. */
export async function benchTasks(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const running = await start('waybill', `sqlite:${dir}`);
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    await runTasks(running, agent, TASKS / 10);
    const startMs = performance.now();
    const polls = await runTasks(running, agent, TASKS);
    const perSecond = TASKS / ((performance.now() - startMs) / 1_000);
    agent.destroy();
    running.child.kill();
    return [
      {
        what: `tasks from create to completed, ${CONNECTIONS} at once (${(polls / TASKS).toFixed(1)} polls each)`,
        ours: thousands(perSecond),
        baseline: '',
        figure: '',
        target: '',
        ok: true,
      },
    ];
  });
}

/** @returns how often `tasks/get` was asked */
async function runTasks({ port, token }: Running, agent: Agent, count: number): Promise<number> {
  let next = 0;
  let polls = 0;
  const post = (method: string, name: string, params: object) =>
    send(port, agent, headersFor(method, name, token), message(next, method, params, TASKS_EXTENSION));

  async function runOne(): Promise<void> {
    const params = { name: 'echo_job', arguments: { text: `task ${next}` } };
    const { taskId } = await post('tools/call', 'echo_job', params);
    for (;;) {
      polls++;
      const { status } = await post('tasks/get', taskId, { taskId });
      if (status === 'completed') return;
      if (status !== 'working') throw new Error(`a task is ${status}`);
    }
  }

  async function worker(): Promise<void> {
    while (next++ < count) await runOne();
  }

  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  return polls;
}

const TASKS_EXTENSION = { 'io.modelcontextprotocol/tasks': {} };

interface TaskAnswer {
  readonly taskId: string;
  readonly status: string;
}

function send(
  port: number,
  agent: Agent,
  headers: Record<string, string>,
  body: string,
): Promise<TaskAnswer> {
  return new Promise((resolve, reject) => {
    const options = {
      port,
      agent,
      path: '/mcp',
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
    };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        // A response of our own server; an error has no result.
        const { result } = JSON.parse(text) as { result?: TaskAnswer };
        if (result === undefined) reject(new Error(text));
        else resolve(result);
      });
    });
    sent.on('error', reject).end(body);
  });
}
