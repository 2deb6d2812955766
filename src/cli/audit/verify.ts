import type { Command } from 'commander';
import type { AuditReport, ChainReport, Verdict, VerifyOptions } from '../../audit/index.ts';
import { counterOn, countRecords } from './counter.ts';
import { readAudit } from './store.ts';
import { brokenAudit, checkKey, keyOption, keyText, openBundle } from './bundle.ts';
import { placeText } from '../store/place.ts';
import { addStoreOptions, dataOption, engineUrls } from '../store/options.ts';
import { jsonOption } from '../options.ts';
import { countText, dateText, print, printable, table } from '../output.ts';
import { addVerb } from '../verb.ts';

interface VerifyFlags {
  readonly key?: string;
  readonly json?: true;
}

export function addAuditVerify(group: Command): void {
  const command = addVerb(group, 'verify', {
    summary:
      'Verify an exported audit, or without a path that of a store; name the first record that is broken.',
    detail:
      'A bundle needs nothing else: no store, no server, no secret. Without --key it is only known that everything ' +
      'was signed by one key; whose key that is you must know from elsewhere.',
    examples: [
      'audit verify audit.jsonl',
      'audit verify audit.jsonl --key wbp_…',
      'audit verify --data /var/lib/waybill',
      'audit verify --store-file store.url',
    ],
  })
    .argument('[path]', 'bundle that "waybill audit export" wrote')
    .addOption(keyOption())
    .addOption(dataOption());
  addStoreOptions(command)
    .addOption(jsonOption())
    .action((path: string | undefined, flags: VerifyFlags) => verify(command, path, flags));
}

const PLACES = { data: '--data', store: '--store', storeFile: '--store-file' } as const;

async function verify(command: Command, path: string | undefined, flags: VerifyFlags): Promise<void> {
  const beside = Object.entries(PLACES).find(([name]) => command.getOptionValueSource(name) === 'cli');
  if (path !== undefined && beside !== undefined)
    command.error(`the path of a bundle leaves no use for ${beside[1]}: take one of the two away`);
  const key = await checkKey(flags.key);
  const { what, verdict } = await (path === undefined ? verifyPlace(command, key) : verifyPath(path, key));
  if (!verdict.ok) {
    const { records, key: named } = verdict;
    throw brokenAudit(verdict.finding, what, { records, key: named });
  }
  print(documentOf(verdict.report), flags.json, reportText(verdict.report, what, flags.key !== undefined));
}

interface Checked {
  readonly what: string;
  readonly verdict: Verdict;
}

async function verifyPath(path: string, options: VerifyOptions): Promise<Checked> {
  const { source, bytes } = await openBundle(path);
  const { verifyBundle } = await import('../../audit/index.ts');
  // It is read twice.
  const counter = counterOn(process.stderr, 'verifying', { total: 2 * bytes, unit: 'bytes' });
  async function* counted() {
    for await (const piece of source()) {
      counter.add(piece.length);
      yield piece;
    }
  }
  const verdict = await verifyBundle(counted, options).finally(() => counter.end());
  return { what: path, verdict };
}

async function verifyPlace(command: Command, options: VerifyOptions): Promise<Checked> {
  const urls = engineUrls(command);
  return readAudit(urls, async ({ audit }) => {
    const { verifyStore } = await import('../../audit/index.ts');
    const counter = counterOn(process.stderr, 'verifying', await countRecords(audit));
    const onRecord = () => counter.add(1);
    const verdict = await verifyStore(audit, { ...options, onRecord }).finally(() => counter.end());
    return { what: placeText(urls), verdict };
  });
}

function documentOf({ serverId, exportedMs, key, records, chains }: AuditReport): object {
  const each = chains.map(({ chain, records: count, firstMs, lastMs, head, closed, unsigned }) => ({
    chain,
    records: count,
    first_ms: firstMs,
    last_ms: lastMs,
    head: head === null ? null : { seq: head.seq, ms: head.ms, hash: head.hash, signature: head.signature },
    closed,
    unsigned,
  }));
  const exported = exportedMs === null ? {} : { server_id: serverId, exported_ms: exportedMs };
  return { ok: true, ...exported, key, records, chains: each };
}

function reportText(
  { serverId, exportedMs, key, records, chains }: AuditReport,
  what: string,
  isGiven: boolean,
): string {
  const from =
    exportedMs === null
      ? ''
      : `, exported from server ${printable(serverId ?? '')} at ${dateText(exportedMs)}`;
  const counts = `${records} records in ${countText(chains.length, 'chain')}`;
  const lines = [`${what} holds: ${counts}${from}`, table(chains.map(row))];
  return [...lines, ...(key === null ? [] : [keyText(key, isGiven)])].join('\n');
}

function row({ chain, records, firstMs, lastMs, head, closed, unsigned }: ChainReport): string[] {
  const signed = head === null ? 'no signed head' : `last signed head ${head.seq}`;
  const more = unsigned === 0 ? '' : `, ${countText(unsigned, 'record')} after the head`;
  const end = closed ? 'ended in order' : `not ended: its process died or still runs${more}`;
  return [chain, `${records} records`, `${dateText(firstMs)} to ${dateText(lastMs)}`, signed, end];
}
