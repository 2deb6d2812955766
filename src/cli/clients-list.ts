import type { Command } from 'commander';
import { SetupError } from '../errors/index.ts';
import { addPlaceOptions, atDesk, clientsPlace, type ClientsPlace, refuseMissing } from './client-store.ts';
import { jsonOption, knownClientArgument } from './options.ts';
import { dateText, print, table } from './output.ts';
import { addVerb } from './verb.ts';

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
    .action((flags: ListFlags) => list(clientsPlace(command), flags));
}

async function list(place: ClientsPlace, { json }: ListFlags): Promise<void> {
  refuseMissing(place.urls);
  const { remarks, viewOf } = await import('./client-view.ts');
  await atDesk(place, {}, async ({ store, sealer }) => {
    const clients = (await store.clients.list()).map((client) => viewOf(client, sealer));
    const nowMs = Date.now();
    const rows = clients.map((view) => [
      view.client_id,
      dateText(view.created_ms),
      view.fingerprint ?? '',
      remarks(view, nowMs),
    ]);
    print({ server_id: store.serverId, clients }, json, rows.length === 0 ? 'no clients' : table(rows));
  });
}

export function addClientsShow(group: Command): void {
  const command = addVerb(group, 'show', {
    summary: 'Show all that is known of a client, without its secrets.',
    examples: ['clients show alice', 'clients show alice --json'],
  }).addArgument(knownClientArgument());
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action((id: string, flags: ListFlags) => show(id, clientsPlace(command), flags));
}

async function show(id: string, place: ClientsPlace, { json }: ListFlags): Promise<void> {
  refuseMissing(place.urls);
  const { rowsOf, viewOf } = await import('./client-view.ts');
  await atDesk(place, {}, async ({ store, sealer }) => {
    const client = await store.clients.get(id);
    if (client === null) throw new SetupError(`there is no client ${id}: "waybill clients list" lists them`);
    const view = viewOf(client, sealer);
    print({ server_id: store.serverId, ...view }, json, table(rowsOf(view, Date.now())));
  });
}
