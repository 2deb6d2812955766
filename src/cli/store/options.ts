import { type Command, Option } from 'commander';
import { type EngineUrls, parseEngineUrls } from '../../jobs/engine-urls.ts';
import { JOB_LIMITS } from '../../limits.ts';
import { wrongUse } from '../exits.ts';
import { filled, integer } from '../options.ts';
import { readSecretFile } from '../read-file.ts';

/** Where the records are and where jobs are queued: how a command line says it. */

const DEFAULT_DATA = '.waybill';

export const dataOption = (): Option =>
  new Option('--data <folder>', `folder of the SQLite file (default: "${DEFAULT_DATA}")`)
    .env('WAYBILL_DATA')
    .argParser(filled);

/** Not parsed here: commander repeats what it refuses, and a URL may hold a password. */
const storeOption = (help: string): Option => new Option('--store <url>', help).env('WAYBILL_STORE');

const storeFileOption = (): Option =>
  new Option('--store-file <file>', 'file with the URL of the store')
    .env('WAYBILL_STORE_FILE')
    .argParser(filled);

const queueOption = (): Option =>
  new Option('--queue <url>', 'redis://… or postgres://… (default: beside the records)').env('WAYBILL_QUEUE');

const queueFileOption = (): Option =>
  new Option('--queue-file <file>', 'file with the URL of the queue')
    .env('WAYBILL_QUEUE_FILE')
    .argParser(filled);

export const concurrencyOption = (): Option =>
  new Option('--concurrency <number>', 'jobs at once in this process')
    .env('WAYBILL_CONCURRENCY')
    .default(JOB_LIMITS.concurrency)
    .argParser((text) => integer(text, 1, 100_000));

const volatileOption = (): Option =>
  new Option(
    '--allow-volatile-queue',
    'take a Redis that can lose jobs; they run again once that is noticed',
  );

export const auditOption = (): Option => new Option('--no-audit', 'nothing is recorded of calls and jobs');

export function addStoreOptions(
  command: Command,
  help = 'sqlite:FOLDER, the same as --data FOLDER, or postgres://…',
): Command {
  return command.addOption(storeOption(help)).addOption(storeFileOption());
}

export function addQueueOptions(command: Command): Command {
  return command.addOption(queueOption()).addOption(queueFileOption()).addOption(volatileOption());
}

/** One way to say something: by which flag or variable it was said, and what. */
interface Given {
  readonly option: Option;
  /** As the user wrote it: the flag or the variable. */
  readonly name: string;
  readonly value: string;
}

/**
 * The engine that flags and variables name; flags win over variables. Files are read, nothing is opened.
 *
 * @throws Failure, SetupError; never with a URL
 */
export function engineUrls(command: Command): EngineUrls {
  const store = given(command, ['store', 'storeFile', 'data']);
  const queue = given(command, ['queue', 'queueFile']);
  try {
    const names = { store: nameOf(store, '--store'), queue: nameOf(queue, '--queue') };
    return parseEngineUrls(urlOf(store) ?? `sqlite:${DEFAULT_DATA}`, urlOf(queue), names);
  } catch (error) {
    throw wrongUse(error);
  }
}

function given(command: Command, keys: readonly string[]): Given | null {
  for (const source of ['cli', 'env']) {
    const [one, other] = command.options
      .filter((option) => keys.includes(option.attributeName()))
      .filter((option) => command.getOptionValueSource(option.attributeName()) === source)
      .map((option) => {
        const name = source === 'cli' ? option.long : option.envVar;
        // All of them take a text, as their flags say.
        return { option, name: name ?? '', value: command.getOptionValue(option.attributeName()) as string };
      });
    if (one === undefined) continue;
    if (other !== undefined) command.error(`${one.name} and ${other.name} are both set: keep one of the two`);
    return one;
  }
  return null;
}

const isFile = ({ option }: Given): boolean => option.attributeName().endsWith('File');

/** How a message calls the URL. */
function nameOf(from: Given | null, otherwise: string): string {
  if (from === null) return otherwise;
  return isFile(from) ? `the URL in ${from.name} ${from.value}` : from.name;
}

function urlOf(from: Given | null): string | undefined {
  if (from === null) return undefined;
  if (from.option.attributeName() === 'data') return `sqlite:${from.value}`;
  return isFile(from) ? readSecretFile(from.value, 'URL file').trim() : from.value;
}
