import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { StoreError } from '../../errors/index.ts';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import type { AuditRecords } from '../../store/audit-records.ts';
import type { Filter, Shown, Tail } from './reader.ts';
import { recordText } from './record-text.ts';
import { readAudit } from './store.ts';
import { addStoreOptions, dataOption, engineUrls } from '../store/options.ts';
import { clientId, integer, jsonOption } from '../options.ts';
import { note, print } from '../output.ts';
import { onFirstSignal } from '../signals.ts';
import { addVerb } from '../verb.ts';

const DEFAULT_LINES = 20;
const POLL_MS = 300;
/** Every so many looks, chains whose process seems dead are looked at too. */
const THOROUGH = 200;

interface TailFlags {
  readonly lines: number;
  readonly follow?: true;
  readonly client?: string;
  readonly all?: true;
  readonly json?: true;
}

export function addAuditTail(group: Command): void {
  const command = addVerb(group, 'tail', {
    summary: 'Print the last records of the audit, of all servers and workers, by time.',
    detail:
      'Each line: time, client, tool, outcome, job, key, chain:number. Signed heads, which every chain has at least ' +
      'once a minute, are shown with --all and with --json. Nothing is verified: see "waybill audit verify".',
    examples: [
      'audit tail',
      'audit tail --lines 5 --client alice',
      'audit tail --follow --store-file store.url',
    ],
  }).addOption(dataOption());
  addStoreOptions(command)
    .addOption(
      new Option('-n, --lines <number>', 'so many records')
        .default(DEFAULT_LINES)
        .argParser((text) => integer(text, 0, 100_000)),
    )
    .addOption(new Option('--follow', 'go on with records as they come, until Ctrl-C'))
    .addOption(
      new Option('--client <id>', 'only calls, refusals and jobs of this client').argParser(clientId),
    )
    .addOption(new Option('--all', 'signed heads too'))
    .addOption(jsonOption())
    .action((options: TailFlags) => tail(engineUrls(command), options));
}

async function tail(urls: EngineUrls, options: TailFlags): Promise<void> {
  await readAudit(urls, async ({ audit }) => {
    const { readTail } = await import('./reader.ts');
    const filter = filterOf(options);
    const { records, marks } = await readTail(audit, options.lines, filter);
    if (options.follow === undefined && options.json === true) {
      return print({ records: records.map(documentOf) }, true);
    }
    for (const record of records) printRecord(record, options);
    if (options.follow === true) return follow(audit, marks, filter, options);
    if (records.length === 0) note('no records');
  });
}

/** Until Ctrl-C, which is how it ends well. A store that is away is waited for. */
async function follow(
  audit: AuditRecords,
  marks: Tail['marks'],
  filter: Filter,
  options: TailFlags,
): Promise<void> {
  const { readNew } = await import('./reader.ts');
  const controller = new AbortController();
  const { signal } = controller;
  const stop = onFirstSignal(['SIGINT', 'SIGTERM'], () => controller.abort());
  let isAway = false;
  for (let look = 1; !signal.aborted; look++) {
    try {
      for (const record of await readNew(audit, marks, filter, look % THOROUGH === 0))
        printRecord(record, options);
      isAway = false;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (!isAway) note(`${error.message}; trying again`);
      isAway = true;
    }
    // Rejects when it is ended.
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
  stop();
}

/** Records of a chain's own that only matter to who verifies it. */
const QUIET: ReadonlySet<string> = new Set(['head']);

function filterOf({ client, all, json }: TailFlags): Filter {
  if (client !== undefined) return ({ members }) => members['client'] === client;
  return all === true || json === true ? () => true : ({ type }) => !QUIET.has(type);
}

function printRecord(record: Shown, { json }: TailFlags): void {
  print(documentOf(record), json, recordText(record, process.stdout));
}

function documentOf({ chain, seq, ms, type, members }: Shown): object {
  return type === 'damaged' ? { chain, seq, ms, type } : { chain, ...members };
}
