import type { Command } from 'commander';
import { SetupError } from '../../errors/index.ts';
import { addPlaceOptions, placeOf, type Place } from '../store/place.ts';
import { withSecrets } from '../store/open.ts';
import { jsonOption, knownClientArgument } from '../options.ts';
import { dateText, note, print, printable, table } from '../output.ts';
import { addVerb } from '../verb.ts';

interface ListFlags {
  readonly json?: true;
}

export function addClientsList(group: Command): void {
  const command = addVerb(group, 'list', {
    summary: 'List the clients, without their secrets.',
    examples: ['clients list', 'clients list --store-file store.url'],
  });
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action((flags: ListFlags) => list(placeOf(command), flags));
}

async function list(place: Place, { json }: ListFlags): Promise<void> {
  const { remarks, viewOf } = await import('./view.ts');
  await withSecrets(place, async ({ store, sealer }) => {
    const damaged: string[] = [];
    const records = await store.clients.list((id) => void damaged.push(id));
    const clients = records.map((client) => viewOf(client, sealer));
    const nowMs = Date.now();
    const rows = clients.map((view) => [
      view.client_id,
      dateText(view.created_ms),
      view.fingerprint ?? '',
      remarks(view, nowMs),
    ]);
    print({ server_id: store.serverId, clients }, json, rows.length === 0 ? 'no clients' : table(rows));
    for (const id of damaged) note(`the record of client ${printable(id)} is damaged: no server believes it`);
  });
}

export function addClientsShow(group: Command): void {
  const command = addVerb(group, 'show', {
    summary: 'Show all that is known of a client, without its secrets.',
    examples: ['clients show alice', 'clients show alice --json'],
  }).addArgument(knownClientArgument());
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action((id: string, flags: ListFlags) => show(id, placeOf(command), flags));
}

async function show(id: string, place: Place, { json }: ListFlags): Promise<void> {
  const { rowsOf, viewOf } = await import('./view.ts');
  await withSecrets(place, async ({ store, sealer }) => {
    const client = await store.clients.get(id);
    if (client === null) throw new SetupError(`there is no client ${id}: "waybill clients list" lists them`);
    const view = viewOf(client, sealer);
    print({ server_id: store.serverId, ...view }, json, table(rowsOf(view, Date.now())));
  });
}
