import { type Command, Option } from 'commander';
import { type EngineUrls, NEEDS_POSTGRES } from '../jobs/engine-urls.ts';
import type { Tool } from '../tools/index.ts';
import type { Endpoint, Listener, Server } from '../transports/index.ts';
import {
  addQueueOptions,
  addStoreOptions,
  asOptions,
  concurrencyOption,
  dataOption,
  engineUrls,
  placeOf,
  placeText,
} from './engine-options.ts';
import { drainOption, hostOption, jsonOption, portOption, serverIdOption } from './options.ts';
import { paint, print } from './output.ts';
import { drain, endSignal, loadService } from './service.ts';
import { addVerb } from './verb.ts';

interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly serverId?: string;
  readonly worker: boolean;
  readonly concurrency: number;
  readonly allowVolatileQueue?: true;
  readonly drainMs: number;
  readonly stdio?: true;
  readonly json?: true;
}

export function addServe(program: Command): void {
  const command = addVerb(program, 'serve', {
    summary: 'Serve tools: those of a module, else the example tools.',
    detail:
      'The module (JavaScript or TypeScript) default-exports what defineTool returns, or an array of it. ' +
      'The log goes to stderr, as JSON lines, and so does the console of the module. SIGTERM and Ctrl-C end the server: calls and jobs that run ' +
      'may end within --drain-ms, after that jobs go back to the queue; a second signal does not wait.',
    examples: [
      'serve',
      'serve ./tools.ts --port 9000 --data /var/lib/waybill --server-id billing',
      'serve ./tools.ts --store-file store.url --queue redis://127.0.0.1:6379 --no-worker',
      'serve ./tools.ts --stdio < requests.jsonl',
    ],
  })
    .argument('[module]', 'file with tools')
    .addOption(hostOption())
    .addOption(portOption())
    .addOption(serverIdOption())
    .addOption(dataOption());
  addQueueOptions(addStoreOptions(command))
    .addOption(new Option('--no-worker', 'accept jobs and leave them to "waybill worker"'))
    .addOption(concurrencyOption())
    .addOption(drainOption())
    .addOption(new Option('--stdio', 'one message a line on stdin and stdout, instead of HTTP'))
    .addOption(jsonOption())
    .action((module: string | undefined, options: ServeOptions) => {
      if (options.stdio) refuseBeside(command, '--stdio', ['host', 'port', 'json']);
      if (!options.worker) refuseBeside(command, '--no-worker', ['concurrency']);
      const urls = engineUrls(command);
      if (!options.worker && urls.kind === 'sqlite') command.error(`--no-worker ${NEEDS_POSTGRES}`);
      return serve(module, urls, options);
    });
}

/** Variables may stay set: only a flag says that somebody expects a port or a line of our own. */
function refuseBeside(command: Command, flag: string, names: readonly string[]): void {
  const name = names.find((each) => command.getOptionValueSource(each) === 'cli');
  if (name !== undefined) command.error(`${flag} leaves no use for --${name}: take one of the two away`);
}

async function serve(module: string | undefined, urls: EngineUrls, options: ServeOptions): Promise<void> {
  const { tools, transports, log } = await loadService(module, options.json === true);
  const door = closedDoor();
  // The address first: if it cannot be had, nothing has been changed yet.
  const { host, port, serverId, worker, concurrency, allowVolatileQueue = false, drainMs } = options;
  const listener = options.stdio ? null : await transports.listen(door, { host, port });
  let server: Server;
  try {
    server = await transports.createServer({
      tools,
      ...asOptions(urls),
      worker,
      concurrency,
      allowVolatileQueue,
      drainMs,
      log,
      ...(serverId !== undefined && { serverId }),
    });
  } catch (error) {
    await listener?.close();
    throw error;
  }
  Object.assign(door, server);
  const ended = endSignal();
  if (listener !== null) announce(listener, server, tools, urls, options);
  else log.info({ server_id: server.serverId, ...placeOf(urls) }, 'serving on stdin and stdout');
  const { stdin: input, stdout: output } = process;
  const why = await Promise.race([
    ended,
    ...(listener ? [] : [transports.serveStdio(server, { input, output })]),
  ]);
  await drain(log, why ?? 'end of stdin', [
    ...(listener === null ? [] : [[listener, 'every connection is closed'] as const]),
    [server, 'every call and job has ended or is back in the queue'],
  ]);
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
  urls: EngineUrls,
  { json }: ServeOptions,
): void {
  const address = paint(process.stdout, 'bold', url);
  const text = `listening on ${address}, server id ${serverId}, ${placeText(urls)}`;
  const names = tools.map(({ name }) => name);
  print({ url, server_id: serverId, ...placeOf(urls), tools: names }, json, text);
}
