import { fstatSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import type { Client, JobHandle } from '../../client/index.ts';
import { ClientError } from '../../errors/index.ts';
import { isObject, type JsonObject } from '../../wire/index.ts';
import { Failure, failureOf, wrongUse } from '../exits.ts';
import { parseObject } from './json-object.ts';
import { addClientFlags, type ClientFlags, requestIdOption, toolArgument } from '../options.ts';
import { print } from '../output.ts';
import { addSaveOptions, type SaveFlags, savingMessages } from './saved-messages.ts';
import { interruptible } from '../signals.ts';
import { addVerb } from '../verb.ts';

interface CallFlags extends ClientFlags, SaveFlags {
  readonly requestId?: string;
  readonly wait: boolean;
  readonly explain?: true;
}

export function addCall(program: Command): void {
  const command = addVerb(program, 'call', {
    summary: 'Call a tool and print its result; for a job, wait for it.',
    detail:
      'Arguments are one JSON object: on the command line, or on stdin, which is read for "-" and when ' +
      'it is a file or a pipe; none means {}. Ctrl-C ends the waiting, not the job.',
    examples: [
      `call batch_sum '{"numbers":[1,2,3.5]}' --credential alice.json`,
      'call batch_sum --credential alice.json < args.json',
      `call start_long_task '{"seconds":5}' --credential alice.json --no-wait`,
      `call start_long_task '{"seconds":5}' --credential alice.json --explain`,
    ],
  })
    .addArgument(toolArgument())
    .argument('[json]', 'arguments as a JSON object, or "-" for stdin')
    .addOption(requestIdOption())
    .addOption(new Option('--no-wait', 'for a job: print its id instead of waiting'))
    .addOption(
      new Option('--explain', 'run nothing: show step by step what would become of the call').conflicts([
        'requestId',
        'saveReply',
        'saveRequest',
      ]),
    );
  addClientFlags(addSaveOptions(command)).action(call);
}

async function call(tool: string, json: string | undefined, options: CallFlags): Promise<void> {
  const args = parseArgs(await argsText(json));
  if (options.explain) return (await import('../doctor/explain.ts')).explain(tool, args, options);
  const { connect } = await import('../client.ts');
  await savingMessages(options, (tap) => callWith(connect(options, tap), tool, args, options));
}

async function callWith(client: Client, tool: string, args: JsonObject, options: CallFlags): Promise<void> {
  const { follow, goesOn } = await import('./follow.ts');
  const requestId = options.requestId ?? crypto.randomUUID();
  let job: JobHandle | null = null;
  const why = () => (job === null ? againHint(requestId) : goesOn(job, options));
  await interruptible(why, async (signal) => {
    const begun = await begin(client, tool, args, requestId, signal);
    if ('result' in begun) return print(begun.result, options.json);
    ({ job } = begun);
    if (options.wait) return print(await follow(job, options, signal), options.json);
    return print({ job_id: job.id }, options.json, job.id);
  });
}

type Begun = { readonly job: JobHandle } | { readonly result: JsonObject };

/** Sends the call; a direct tool has its result at once, a job can be followed. */
async function begin(
  client: Client,
  tool: string,
  args: JsonObject,
  requestId: string,
  signal: AbortSignal,
): Promise<Begun> {
  try {
    return { job: await client.start(tool, args, { requestId, signal }) };
  } catch (error) {
    // `start` tells of a tool that is no job by an error that carries the result.
    if (error instanceof TypeError && isObject(error.cause)) {
      // Results have come from JSON.
      return { result: error.cause as JsonObject };
    }
    if (!(error instanceof ClientError)) throw wrongUse(error);
    const { exit, code, message } = failureOf(error);
    const hinted = NOTHING_RAN.test(message) ? message : `${message}; ${againHint(requestId)}`;
    throw new Failure(exit, code, hinted, { cause: error, result: { request_id: requestId } });
  }
}

/** A server that does not know who calls, or no server at all: asking again as before is no help. */
const NOTHING_RAN = /the server answered unsigned|is the address right\?$/;

/** Whether the server took the call nobody knows; under the same id that does not matter. */
function againHint(requestId: string): string {
  return `to ask again without running it twice, add --request-id ${requestId}`;
}

async function argsText(json: string | undefined): Promise<string> {
  if (json !== undefined && json !== '-') return json;
  return json === '-' || isPiped() ? text(process.stdin) : '';
}

/** Is a file or a pipe there to be read? Anything else, such as a socket, may stay open for ever. */
function isPiped(): boolean {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isFile();
  } catch {
    // Closed.
    return false;
  }
}

function parseArgs(json: string): JsonObject {
  return json.trim() === '' ? {} : parseObject(json, 'arguments', '{"numbers":[1,2]}');
}
