import { Console } from 'node:console';
import { type Command, Option } from 'commander';
import type { Tool } from '../tools/index.ts';
import type { Endpoint, Listener, Server } from '../transports/index.ts';
import { isDebug, paint, print } from './output.ts';
import { dataOption, drainOption, hostOption, jsonOption, portOption, serverIdOption } from './options.ts';
import { type EndSignal, onFirstSignal } from './signals.ts';
import { addVerb } from './verb.ts';

interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly data: string;
  readonly serverId?: string;
  readonly drainMs: number;
  readonly stdio?: true;
  readonly json?: true;
}

export function addServe(program: Command): void {
  addVerb(program, 'serve', {
    summary: 'Serve tools: those of a module, else the example tools.',
    detail:
      'The module (JavaScript or TypeScript) default-exports what defineTool returns, or an array of it. ' +
      'The log goes to stderr, as JSON lines, and so does the console of the module. SIGTERM and Ctrl-C end the server: calls and jobs that run ' +
      'may end within --drain-ms, after that jobs go back to the queue; a second signal does not wait.',
    examples: [
      'serve',
      'serve ./tools.ts --port 9000 --data /var/lib/waybill --server-id billing',
      'serve ./tools.ts --stdio < requests.jsonl',
    ],
  })
    .argument('[module]', 'file with tools')
    .addOption(hostOption())
    .addOption(portOption())
    .addOption(serverIdOption())
    .addOption(dataOption())
    .addOption(drainOption())
    .addOption(new Option('--stdio', 'one message a line on stdin and stdout, instead of HTTP'))
    .addOption(jsonOption())
    .action((module: string | undefined, options: ServeOptions, command: Command) => {
      if (options.stdio) refuseBeside(command, ['host', 'port', 'json']);
      return serve(module, options);
    });
}

/** Variables may stay set: only a flag says that somebody expects a port or a line of our own. */
function refuseBeside(command: Command, names: readonly string[]): void {
  const name = names.find((each) => command.getOptionValueSource(each) === 'cli');
  if (name !== undefined) command.error(`--stdio leaves no use for --${name}: take one of the two away`);
}

async function serve(module: string | undefined, options: ServeOptions): Promise<void> {
  const { tools, transports, log } = await load(module, options.json === true);
  const door = closedDoor();
  // The address first: if it cannot be had, nothing has been changed yet.
  const { host, port, data, serverId, drainMs } = options;
  const listener = options.stdio ? null : await transports.listen(door, { host, port });
  let server: Server;
  try {
    const names = serverId === undefined ? {} : { serverId };
    server = await transports.createServer({ tools, store: `sqlite:${data}`, log, drainMs, ...names });
  } catch (error) {
    await listener?.close();
    throw error;
  }
  Object.assign(door, server);
  const ended = new Promise<EndSignal>((resolve) => onFirstSignal(['SIGINT', 'SIGTERM'], resolve));
  if (listener !== null) announce(listener, server, tools, options);
  else log.info({ server_id: server.serverId, data }, 'serving on stdin and stdout');
  const { stdin: input, stdout: output } = process;
  const why = await Promise.race([
    ended,
    ...(listener ? [] : [transports.serveStdio(server, { input, output })]),
  ]);
  await drain(server, listener, log, why ?? 'end of stdin');
  // A module may hold timers and connections of its own.
  process.exit(0);
}

async function load(module: string | undefined, json: boolean) {
  const [{ loadTools }, transports, { pino, destination, stdTimeFunctions }] = await Promise.all([
    import('./load-tools.ts'),
    import('../transports/index.ts'),
    import('pino'),
  ]);
  // What a module logs would stand between the messages of --stdio and beside the document of --json.
  globalThis.console = new Console(process.stderr, process.stderr);
  const tools = await (module === undefined ? exampleTools() : loadTools(module, json));
  // Written at once: the last lines before a crash are those that matter.
  const log = pino(
    {
      base: null,
      messageKey: 'message',
      level: isDebug() ? 'debug' : 'info',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    destination({ fd: 2, sync: true }),
  );
  return { tools, transports, log };
}

async function exampleTools(): Promise<readonly Tool[]> {
  return (await import('./example-tools.ts')).default;
}

/** What the listener serves until the store is open: "not ready". */
function closedDoor(): Endpoint {
  const reply = { body: '', httpStatus: 503 };
  return { maxMessageBytes: 0, handle: async () => reply, refuse: () => reply, ready: async () => false };
}

function announce(
  { url }: Listener,
  { serverId }: Server,
  tools: readonly Tool[],
  { data, json }: ServeOptions,
): void {
  const text = `listening on ${paint(process.stdout, 'bold', url)}, server id ${serverId}, data ${data}`;
  print({ url, server_id: serverId, data, tools: tools.map(({ name }) => name) }, json, text);
}

type Log = Awaited<ReturnType<typeof load>>['log'];

async function drain(server: Server, listener: Listener | null, log: Log, why: string): Promise<void> {
  const startMs = performance.now();
  log.info({ why }, 'draining: calls and jobs that run may end; a second signal does not wait');
  await Promise.all([
    listener?.close().then(() => log.info({}, 'every connection is closed')),
    server.close().then(() => log.info({}, 'every call and job has ended or is back in the queue')),
  ]);
  log.info({ took_ms: Math.round(performance.now() - startMs) }, 'stopped');
}
