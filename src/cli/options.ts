import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { checkCredential } from '../client/credential.ts';
import { problemOf } from '../client/request.ts';
import { JOB_LIMITS } from '../limits.ts';
import { Failure } from './exits.ts';
import { addRequiredOption } from './verb.ts';

/**
 * The options that several verbs share: a setting has one word, as flag and as `WAYBILL_…` variable.
 * A flag wins over its variable. Secrets come in files only, so that no process list shows them.
 */

export const DEFAULT_SERVER_ID = 'waybill';
export const DEFAULT_PORT = 8_080;

export const hostOption = (): Option =>
  new Option('--host <address>', 'address to listen on')
    .env('WAYBILL_HOST')
    .default('127.0.0.1')
    .argParser(filled);

export const portOption = (): Option =>
  new Option('--port <number>', 'port to listen on; 0: any free one')
    .env('WAYBILL_PORT')
    .default(DEFAULT_PORT)
    .argParser((text) => integer(text, 0, 65_535));

export const drainOption = (): Option =>
  new Option('--drain-ms <number>', 'time for calls and jobs to end at shutdown')
    .env('WAYBILL_DRAIN_MS')
    .default(JOB_LIMITS.drainMs)
    .argParser((text) => integer(text, 0, 86_400_000));

export const serverIdOption = (): Option =>
  new Option(
    '--server-id <id>',
    `id that requests must name (default: that of the store, else "${DEFAULT_SERVER_ID}")`,
  )
    .env('WAYBILL_SERVER_ID')
    .argParser(wire('server_id'));

export const urlOption = (help: string): Option =>
  new Option('--url <url>', help).env('WAYBILL_URL').argParser(httpUrl);

export const serverUrlOption = (): Option =>
  urlOption(
    'where the server listens; an origin alone stands for its /call (default: url of the credential)',
  );

export const credentialOption = (): Option =>
  new Option('--credential <file>', 'credential file, as "waybill clients add --out" writes it')
    .env('WAYBILL_CREDENTIAL')
    .argParser(filled);

export const timeoutOption = (): Option =>
  new Option(
    '--timeout-ms <number>',
    'time for each request with its retries; a job may take longer (default: 60000)',
  )
    .env('WAYBILL_TIMEOUT_MS')
    .argParser((text) => integer(text, 1, 2 ** 31 - 1));

export const jsonOption = (): Option =>
  new Option('--json', 'print exactly one JSON document, in one line, on stdout');

export const clientIdArgument = (): Argument =>
  new Argument('<id>', 'id of the new client, such as "alice"').argParser(clientId);

export const knownClientArgument = (): Argument =>
  new Argument('<id>', 'id of the client').argParser(clientId);

export const toolArgument = (): Argument =>
  new Argument('<tool>', 'name of the tool').argParser(wire('tool'));

export const requestIdOption = (): Option =>
  new Option(
    '--request-id <id>',
    'name of the call: repeated with the same one, it never runs twice',
  ).argParser(wire('request_id'));

/** What every verb that talks to a server is told. */
export interface ClientFlags {
  readonly credential: string;
  readonly url?: string;
  readonly timeoutMs?: number;
  readonly json?: true;
}

export function addClientFlags(command: Command): Command {
  return addRequiredOption(command, credentialOption())
    .addOption(serverUrlOption())
    .addOption(timeoutOption())
    .addOption(jsonOption());
}

export function clientId(text: string): string {
  return wire('client_id')(text);
}

/** Checks a value by the rule that its member has on the wire (docs/protocol.md §1). */
function wire(member: string): (text: string) => string {
  return (text) => {
    const problem = problemOf({ [member]: text });
    if (problem !== null) throw new InvalidArgumentError(`It ${problem.slice(member.length + 2)}.`);
    return text;
  };
}

const ORIGIN = /^https?:\/\/[^/?#]+$/i;

function httpUrl(text: string): string {
  try {
    const { url } = checkCredential({
      client_id: 'x',
      server_id: 'x',
      request_key: '1',
      response_key: '2',
      url: text,
    });
    // Of an origin alone, what is meant is plain.
    return ORIGIN.test(text) ? `${text}/call` : (url ?? text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Not with the text itself: it may hold a password.
    const what = error.message.replace(/^credential: url: /, '');
    throw new Failure('wrongUse', 'usage', `--url ${what}, such as http://127.0.0.1:${DEFAULT_PORT}/call`);
  }
}

export function filled(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

export function integer(text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
}
