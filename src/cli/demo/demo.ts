import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Stage } from './steps.ts';
import type { DemoView, Exchange } from './view.ts';
import { EXITS, failureOf } from '../exits.ts';
import { jsonOption } from '../options.ts';
import { print } from '../output.ts';
import { interruptible } from '../signals.ts';
import { addVerb } from '../verb.ts';

interface DemoFlags {
  readonly json?: true;
}

interface StepReport {
  readonly name: string;
  readonly shows: string;
  readonly ok: boolean;
  readonly exchanges: readonly Exchange[];
}

export function addDemo(program: Command): void {
  addVerb(program, 'demo', {
    summary: 'Show the whole protocol at work against a real server, in about five seconds.',
    examples: ['demo', 'demo --json'],
  })
    .addOption(jsonOption())
    .action(demo);
}

async function demo({ json }: DemoFlags): Promise<void> {
  const { SILENT, textView } = await import('./view.ts');
  const view = json === true ? SILENT : textView();
  await interruptible(
    () => 'the demo has cleaned up after itself',
    async (signal) => {
      const startMs = performance.now();
      const steps = await inTemporaryFolder((folder) => perform(folder, view, signal));
      const right = steps.filter(({ ok }) => ok).length;
      view.end(right, steps.length, performance.now() - startMs);
      if (json === true) print({ ok: right === steps.length, steps }, true);
      if (right < steps.length) process.exitCode = EXITS.refused.exitCode;
    },
  );
}

async function inTemporaryFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-demo-'));
  try {
    return await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A server on a free port, a client, and one step after the other. */
async function perform(folder: string, view: DemoView, signal: AbortSignal): Promise<readonly StepReport[]> {
  const [{ createServer, listen }, { stderrLog }, { default: tools }] = await Promise.all([
    import('../../transports/index.ts'),
    import('../../server/log.ts'),
    import('../serve/example-tools.ts'),
  ]);
  const server = await createServer({
    tools,
    store: `sqlite:${folder}`,
    serverId: 'demo',
    // At the end a job runs only if the demo was interrupted: it is not waited for, and not worth a warning.
    drainMs: 0,
    log: { ...stderrLog, warn() {} },
  });
  const listener = await listen(server);
  try {
    view.begin(listener.url);
    const credential = await server.addClient({ id: 'alice', url: listener.url });
    return await walk(credential, view, signal);
  } finally {
    await Promise.all([listener.close(), server.close()]);
  }
}

async function walk(
  credential: Stage['credential'],
  view: DemoView,
  signal: AbortSignal,
): Promise<readonly StepReport[]> {
  const [{ createClient }, { fetchTransport }, { STEPS }] = await Promise.all([
    import('../../client/index.ts'),
    import('../../client/transport.ts'),
    import('./steps.ts'),
  ]);
  const sent: Uint8Array<ArrayBuffer>[] = [];
  let exchanges: Exchange[] = [];
  const post = fetchTransport(credential.url);
  const send: Stage['send'] = async (bytes, options) => {
    sent.push(bytes);
    const reply = await post(bytes, options);
    const exchange: Exchange = { sent: read(bytes), got: read(reply) };
    exchanges.push(exchange);
    view.exchange(exchange);
    return reply;
  };
  const stage = { client: createClient(credential, { transport: send }), credential, send, sent, signal };
  const reports: StepReport[] = [];
  for (const { name, shows, run } of STEPS) {
    exchanges = [];
    view.step(reports.length + 1, shows);
    const why = await run(stage).then(
      (ok) => (ok ? null : `this is not what ${name} must give`),
      (error: unknown) => failureOf(error).text,
    );
    view.stepDone(signal.aborted ? null : why);
    signal.throwIfAborted();
    reports.push({ name, shows, ok: why === null, exchanges });
  }
  return reports;
}

/** A message of our own client or server. */
function read<Message>(bytes: Uint8Array): Message {
  return JSON.parse(new TextDecoder().decode(bytes)) as Message;
}
