import { type Command, Option } from 'commander';
import { type EngineUrls, NEEDS_POSTGRES } from '../../jobs/engine-urls.ts';
import type { Tool } from '../../tools/index.ts';
import type { McpOptions } from '../../mcp/options.ts';
import type { Endpoint, Listener, Route, Server } from '../../transports/index.ts';
import { type EngineFlags, engineOptions, type Place, placeMembers, placeText } from '../store/place.ts';
import {
  addQueueOptions,
  addStoreOptions,
  auditOption,
  concurrencyOption,
  dataOption,
  engineUrls,
} from '../store/options.ts';
import { masterKeyOf, masterKeyOption } from '../store/master-key.ts';
import { addMcpOptions, type McpFlags, mcpOptions } from './mcp-options.ts';
import { drainOption, hostOption, jsonOption, portOption, serverIdOption } from '../options.ts';
import { paint, print } from '../output.ts';
import { drain, endSignal, type Service } from './service.ts';
import type { EndSignal } from '../signals.ts';
import {
  addTlsOptions,
  loadTls,
  renewAtHangUp,
  type TlsFiles,
  tlsFiles,
  type TlsFlags,
} from './tls-options.ts';

/** What the verbs that serve tools have in common. */

export interface ServingFlags extends EngineFlags, McpFlags, TlsFlags {
  readonly port: number;
  readonly worker: boolean;
  readonly stdio?: true;
  readonly json?: true;
}

export function addServingOptions(command: Command, concurrency = concurrencyOption()): Command {
  addTlsOptions(command.addOption(hostOption()).addOption(portOption()));
  command.addOption(serverIdOption()).addOption(dataOption()).addOption(masterKeyOption());
  return addMcpOptions(addQueueOptions(addStoreOptions(command)))
    .addOption(new Option('--no-worker', 'accept jobs and leave them to "waybill worker"'))
    .addOption(auditOption())
    .addOption(concurrency)
    .addOption(drainOption())
    .addOption(new Option('--stdio', 'one message a line on stdin and stdout, instead of HTTP'))
    .addOption(jsonOption());
}

/** Options of these have no meaning on stdin and stdout. */
const HTTP_ONLY = [
  'host',
  'port',
  'tlsCert',
  'tlsKey',
  'behindProxy',
  'json',
  'mcpAnonymous',
  'mcpHost',
  'mcpWaitMs',
] as const;

export interface ServingPlace extends Place {
  readonly mcp: McpOptions;
  readonly tls: TlsFiles | null;
}

/** Where records and jobs are, who may come to `/mcp`, and over what. @throws Failure when options contradict each other */
export function servingPlace(command: Command, options: ServingFlags): ServingPlace {
  if (options.stdio) refuseBeside(command, '--stdio', [...HTTP_ONLY]);
  if (!options.worker) refuseBeside(command, '--no-worker', ['concurrency']);
  const urls = engineUrls(command);
  if (!options.worker && urls.kind === 'sqlite') command.error(`--no-worker ${NEEDS_POSTGRES}`);
  const mcp = mcpOptions(command, options);
  return { urls, mcp, tls: tlsFiles(command, options), ...masterKeyOf(command) };
}

/** Variables may stay set: only a flag says that somebody expects a port or a line of our own. */
function refuseBeside(command: Command, flag: string, names: readonly string[]): void {
  const name = names.find((each) => command.getOptionValueSource(each) === 'cli');
  if (name === undefined) return;
  const other = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  command.error(`${flag} leaves no use for --${other}: take one of the two away`);
}

/** What the tools rest on beside store and queue. */
export interface Ground {
  isUp(): boolean;
  /** After every call and job has ended. */
  close(): Promise<void>;
}

const SOLID: Ground = { isUp: () => true, close: async () => {} };

/** Serves tools until a signal, or the end of stdin, ends the process. */
export async function serveTools(
  { transports, log, ended: awaited }: Service & { readonly ended?: Promise<EndSignal> },
  tools: readonly Tool[],
  { mcp, tls, ...place }: ServingPlace,
  flags: ServingFlags,
  ground: Ground = SOLID,
): Promise<void> {
  const door = closedDoor();
  // The address first: if it cannot be had, nothing has been changed yet.
  const { host, port, worker, stdio } = flags;
  const route = closedRoute();
  const pair = tls === null ? {} : { tls: await loadTls(tls, log) };
  const listener = stdio ? null : await transports.listen(door, { host, port, routes: [route], ...pair });
  if (listener !== null && tls !== null) renewAtHangUp(listener, tls, log);
  let server: Server;
  try {
    server = await transports.createServer({ ...engineOptions(place, flags), tools, worker, log });
  } catch (error) {
    await listener?.close();
    throw error;
  }
  Object.assign(door, server, { ready: async () => ground.isUp() && server.ready() });
  if (listener !== null) await openRoute(route, server, mcp, log);
  const ended = awaited ?? endSignal();
  if (listener !== null) announce(listener, server, tools, place.urls, flags);
  else log.info({ server_id: server.serverId, ...placeMembers(place.urls) }, 'serving on stdin and stdout');
  const { stdin: input, stdout: output } = process;
  const why = await Promise.race([
    ended,
    ...(listener ? [] : [transports.serveStdio(server, { input, output })]),
  ]);
  await drain(log, why ?? 'end of stdin', [
    ...(listener === null ? [] : [[listener, 'every connection is closed'] as const]),
    [{ close: () => closeBoth(server, ground) }, 'every call and job has ended or is back in the queue'],
  ]);
}

async function closeBoth(server: Server, ground: Ground): Promise<void> {
  await server.close();
  await ground.close();
}

/** What the listener serves until the store is open: "not ready". */
function closedDoor(): Endpoint {
  const reply = { body: '', httpStatus: 503 };
  return { maxMessageBytes: 0, handle: async () => reply, refuse: () => reply, ready: async () => false };
}

function closedRoute(): Route {
  return { path: '/mcp', maxBodyBytes: 0, handle: async () => ({ status: 503, headers: {}, body: '' }) };
}

async function openRoute(
  route: Route,
  server: Server,
  options: McpOptions,
  log: Service['log'],
): Promise<void> {
  const { mcpRoute } = await import('../../mcp/index.ts');
  Object.assign(route, mcpRoute(server, options));
  const { anonymous } = options;
  if (anonymous !== undefined && server.calls.clientNamed(anonymous) === null)
    log.warn(
      { client_id: anonymous },
      '--mcp-anonymous names a client that is not there: add it with "waybill clients add"',
    );
}

function announce(
  { url }: Listener,
  { serverId }: Server,
  tools: readonly Tool[],
  urls: EngineUrls,
  { json }: ServingFlags,
): void {
  const address = paint(process.stdout, 'bold', url);
  const text = `listening on ${address}, server id ${serverId}, ${placeText(urls)}`;
  const names = tools.map(({ name }) => name);
  const mcpUrl = new URL('/mcp', url).href;
  print({ url, mcp_url: mcpUrl, server_id: serverId, ...placeMembers(urls), tools: names }, json, text);
}
