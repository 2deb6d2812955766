import { type Command, Option } from 'commander';
import { countLines, type Counter, counterOn, countRecords } from './counter.ts';
import { signAudit } from './store.ts';
import { addPlaceOptions, placeOf, type Place } from '../store/place.ts';
import { flush, inNewFile, writeWhole } from '../new-file.ts';
import { filled, jsonOption } from '../options.ts';
import { countText, print } from '../output.ts';
import { interruptible } from '../signals.ts';
import { addRequiredOption, addVerb } from '../verb.ts';

interface ExportFlags {
  readonly out: string;
  readonly json?: true;
}

export function addAuditExport(group: Command): void {
  const command = addVerb(group, 'export', {
    summary: 'Write the whole audit to a new file that anybody can verify without the store.',
    detail:
      'Servers may go on meanwhile. The file has JSON lines, mode 600, and a signed end; its last line is made with ' +
      'the audit key, which follows from the master key.',
    examples: [
      'audit export --out audit.jsonl',
      'audit export --out audit.jsonl --store-file store.url --master-key-file master.key',
    ],
  });
  const out = new Option('--out <path>', 'the new file').argParser(filled);
  addPlaceOptions(addRequiredOption(command, out))
    .addOption(jsonOption())
    .action(({ out: path, json }: ExportFlags) => exportAudit(path, placeOf(command), json));
}

/** The file is made first and taken away again when anything goes wrong, Ctrl-C too. */
async function exportAudit(path: string, place: Place, json: true | undefined): Promise<void> {
  const done = await interruptible(
    () => `nothing was exported, ${path} is gone again`,
    (signal) =>
      inNewFile(path, async (file) => {
        const { key, serverId, chains, records } = await writeAll(path, file, place, signal);
        flush(path, file);
        return { file: path, server_id: serverId, key, chains, records };
      }),
    ['SIGINT', 'SIGTERM'],
  );
  const { chains, records, key, server_id: serverId } = done;
  const counts = `${records} records in ${countText(chains, 'chain')}`;
  print(done, json, `${path} is the audit of server ${serverId}: ${counts}, signed with ${key}`);
}

function writeAll(path: string, file: number, place: Place, signal: AbortSignal) {
  return signAudit(place, async ({ audit, serverId }, master) => {
    const { auditKeys, writeBundle } = await import('../../audit/index.ts');
    const keys = auditKeys(master);
    const counter = counterOn(process.stderr, 'exporting', await countRecords(audit));
    try {
      const write = writerTo(path, file, counter, signal);
      const counts = await writeBundle({ source: audit, write, keys, serverId, nowMs: Date.now() });
      return { key: keys.publicText, serverId, ...counts };
    } finally {
      counter.end();
    }
  });
}

function writerTo(path: string, file: number, counter: Counter, signal: AbortSignal) {
  return (piece: string): void => {
    signal.throwIfAborted();
    writeWhole(path, file, Buffer.from(piece));
    counter.add(countLines(piece));
  };
}
