import { type Command, InvalidArgumentError, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import { JOB_POLICY_BOUNDS } from '../../limits.ts';
import { WRAP_LIMITS } from '../../mcp/wrap/limits.ts';
import type { Target } from '../../mcp/wrap/target.ts';
import { concurrencyOption } from '../store/options.ts';
import { Failure } from '../exits.ts';
import { filled, integer } from '../options.ts';
import { readSecretFile } from '../read-file.ts';
import { endSignal, openService } from './service.ts';
import {
  addServingOptions,
  type ServingFlags,
  serveTools,
  type ServingPlace,
  servingPlace,
} from './serving.ts';
import { addVerb } from '../verb.ts';

interface WrapFlags extends ServingFlags {
  readonly job?: readonly string[];
  readonly jobDeadlineMs?: number;
  readonly maxCalls: number;
  readonly env?: readonly string[];
  readonly tokenFile?: string;
}

export function addWrap(program: Command): void {
  const command = addVerb(program, 'wrap', {
    summary: 'Serve the tools of a server of the Model Context Protocol, signed, and slow ones as jobs.',
    detail:
      'The server is a command, which is started and kept running, or a URL. Write -- before a command. ' +
      'Of our environment it gets HOME, LOGNAME, PATH, SHELL, TERM, USER and what --env names. ' +
      'Its stderr goes to our log on stderr. SIGTERM and Ctrl-C end both as they end "waybill serve".',
    examples: [
      'wrap -- npx -y @modelcontextprotocol/server-filesystem /srv/files',
      "wrap --job '*report*' --job-deadline-ms 600000 --env API_TOKEN -- node server.js",
      'wrap --token-file token https://tools.example/mcp',
    ],
  })
    .argument('<server...>', 'URL of the server, or after -- its command with arguments')
    .addOption(
      new Option(
        '--job <pattern>',
        'tools that become jobs; * is any run of characters; may be repeated',
      ).argParser(collect),
    )
    .addOption(
      new Option('--job-deadline-ms <number>', 'time of each job, waiting included (default: 3600000)')
        .env('WAYBILL_JOB_DEADLINE_MS')
        .argParser((text) => integer(text, ...JOB_POLICY_BOUNDS.deadlineMs)),
    )
    .addOption(
      new Option('--max-calls <number>', 'calls at once in the wrapped server; others wait')
        .env('WAYBILL_MAX_CALLS')
        .default(WRAP_LIMITS.maxCalls)
        .argParser((text) => integer(text, 1, 10_000)),
    )
    .addOption(
      new Option('--env <name>', 'variable of ours that its command gets too; may be repeated').argParser(
        variable,
      ),
    )
    .addOption(
      new Option('--token-file <file>', 'file with the bearer token for its URL')
        .env('WAYBILL_TOKEN_FILE')
        .argParser(filled),
    );
  addServingOptions(command, concurrencyOption().default(WRAP_LIMITS.concurrency)).action(
    (server: readonly string[], options: WrapFlags) => {
      const place = servingPlace(command, options);
      return wrap(targetOf(command, server, options), place, options);
    },
  );
}

async function wrap(target: Target, place: ServingPlace, options: WrapFlags): Promise<void> {
  const [{ wrapServer }, service] = await Promise.all([import('../../mcp/wrap/wrap.ts'), openService()]);
  const { log } = service;
  const ended = endSignal();
  const starting = new AbortController();
  void ended.then(() => starting.abort(new Failure('interrupted', 'interrupted', 'nothing was served yet')));
  const { job, jobDeadlineMs, maxCalls } = options;
  const { tools, leftOut, ...ground } = await wrapServer({
    target,
    log,
    maxCalls,
    signal: starting.signal,
    ...(job !== undefined && { jobs: job }),
    ...(jobDeadlineMs !== undefined && { jobDeadlineMs }),
  });
  const jobs = tools.filter((tool) => tool.job !== null).map(({ name }) => name);
  log.info({ served: tools.length, left_out: leftOut, jobs }, 'the tools of the wrapped server');
  try {
    await serveTools({ ...service, ended }, tools, place, options, ground);
  } catch (error) {
    await ground.close();
    throw error;
  }
}

/** @throws Failure, SetupError */
function targetOf(command: Command, [first = '', ...rest]: readonly string[], flags: WrapFlags): Target {
  const { env = [], tokenFile } = flags;
  if (!/^https?:/i.test(first)) {
    if (first === '') command.error('the command is empty: name the program that is the server');
    if (command.getOptionValueSource('tokenFile') === 'cli')
      command.error('--token-file is for a URL: a command gets its secrets by --env');
    return { kind: 'command', command: first, args: rest, env: Object.fromEntries(env.map(valueOf)) };
  }
  if (rest.length > 0) command.error('after the URL there is nothing to come: a command begins with --');
  if (env.length > 0) command.error('--env is for a command: a URL takes --token-file');
  const token = tokenFile === undefined ? undefined : readToken(tokenFile);
  return { kind: 'http', url: checkUrl(command, first), ...(token !== undefined && { token }) };
}

/** Not with the text itself: it may hold a password. */
function checkUrl(command: Command, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : command.error('the URL of the server is none');
  if (url.username !== '' || url.password !== '')
    command.error('the URL of the server must not contain a user name or a password: use --token-file');
  return url.href;
}

function readToken(path: string): string {
  const token = readSecretFile(path, 'token file').trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new SetupError(`token file ${path} must hold one token of visible ASCII characters`);
}

function valueOf(name: string): readonly [name: string, value: string] {
  const value = process.env[name];
  if (value === undefined) throw new SetupError(`--env ${name}: there is no such variable`);
  return [name, value];
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, filled(text)];
}

/** A value would be seen by everybody on the machine. */
function variable(text: string, before: readonly string[] = []): readonly string[] {
  if (text.includes('='))
    throw new Failure(
      'wrongUse',
      'usage',
      '--env takes a name only: its value is taken from our environment',
    );
  if (!/^\w+$/.test(text)) throw new InvalidArgumentError('It must be the name of a variable.');
  return [...before, text];
}
