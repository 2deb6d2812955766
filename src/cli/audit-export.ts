import { type Command, Option } from 'commander';
import { countLines, type Counter, counterOn, countRecords } from './audit-progress.ts';
import { signAudit } from './audit-store.ts';
import { addPlaceOptions, clientsPlace, type ClientsPlace } from './client-store.ts';
import { flush, inNewFile, writeWhole } from './new-file.ts';
import { filled, jsonOption } from './options.ts';
import { print } from './output.ts';
import { interruptible } from './signals.ts';
import { addVerb } from './verb.ts';

interface ExportOptions {
  readonly out?: string;
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
  addPlaceOptions(
    command.addOption(out).hook('preAction', () => {
      if (command.getOptionValue('out') === undefined)
        command.error(`required option '${out.flags}' not specified`);
    }),
  )
    .addOption(jsonOption())
    // Looked for above.
    .action(({ out: path = '', json }: ExportOptions) => exportAudit(path, clientsPlace(command), json));
}

/** The file is made first and taken away again when anything goes wrong, Ctrl-C too. */
async function exportAudit(path: string, place: ClientsPlace, json: true | undefined): Promise<void> {
  const done = await interruptible(
    () => `nothing was exported, ${path} is gone again`,
    (signal) =>
      inNewFile(path, async (file) => {
        const { key, serverId, chains, records } = await writeAll(path, file, place, signal);
        flush(path, file);
        return { file: path, server_id: serverId, key, chains, records };
      }),
  );
  const { chains, records, key, server_id: serverId } = done;
  const counts = `${records} records in ${chains} chain${chains === 1 ? '' : 's'}`;
  print(done, json, `${path} is the audit of server ${serverId}: ${counts}, signed with ${key}`);
}

function writeAll(path: string, file: number, place: ClientsPlace, signal: AbortSignal) {
  return signAudit(place, async ({ audit, serverId }, master) => {
    const { auditKeys, writeBundle } = await import('../audit/index.ts');
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
