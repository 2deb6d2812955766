import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isOpenToOthers } from '../../disk.ts';
import { AUDIT_LIMITS } from '../../audit/limits.ts';
import type { Sealer } from '../../server/clients/sealer.ts';
import type { ClientRecord } from '../../store/client-records.ts';
import type { ClientStore } from '../../store/record-store.ts';
import { refuseMissing, withStore } from '../store/open.ts';
import { type Place, placeText } from '../store/place.ts';
import { failureOf } from '../exits.ts';
import { dateText, shellWord } from '../output.ts';
import { type Line, line, SOON_MS } from './screen.ts';

/** Checks the store of a server, which may be running; nothing of it is changed. */
export async function storeLines(place: Place): Promise<readonly Line[]> {
  try {
    refuseMissing(place.urls);
    const files = place.urls.kind === 'sqlite' ? [filesLine(place.urls.dir)] : [];
    return await withStore(place.urls, async (store) => {
      const nowMs = Date.now();
      const where = line('store', 'ok', `${placeText(place.urls)}, of server ${store.serverId}`);
      const damaged: Line[] = [];
      const clients = await store.clients.list((id) =>
        damaged.push(line('clients', 'refused', `the record of ${id} is damaged: no server believes it`)),
      );
      const keys = await keyLines(place, store, clients);
      const told = [...damaged, ...clientLines(clients, nowMs)];
      return [where, ...files, ...keys, ...told, await auditLine(store, nowMs)];
    });
  } catch (error) {
    return [line('store', 'refused', failureOf(error).message)];
  }
}

/** It and its journal hold nothing. */
const LOCK = 'server.lock';

function filesLine(dir: string): Line {
  // Windows keeps access lists instead; these bits say nothing there.
  if (process.platform === 'win32')
    return line('files', 'unknown', 'who may read them is not looked at here');
  const names = ['.', ...readdirSync(dir, { recursive: true, encoding: 'utf8' })];
  const open = names.filter((name) => !name.startsWith(LOCK) && isOpen(join(dir, name)));
  if (open.length === 0) return line('files', 'ok', 'for their owner only');
  const how = `run chmod -R go= ${shellWord(dir)}`;
  return line('files', 'refused', `open to other users: ${open.join(', ')}: ${how}`);
}

function isOpen(path: string): boolean {
  // One that has just gone, such as a log of the database, is open to nobody.
  return isOpenToOthers(statSync(path, { throwIfNoEntry: false })?.mode ?? 0);
}

async function keyLines(
  { urls, masterKey }: Place,
  store: ClientStore,
  clients: readonly ClientRecord[],
): Promise<readonly Line[]> {
  const { checkMaster, masterFolder } = await import('../../server/clients/master-key.ts');
  let sealer: Sealer | null;
  try {
    sealer = await checkMaster(store.clients, masterKey, masterFolder(urls));
  } catch (error) {
    return [line('master key', 'refused', failureOf(error).message)];
  }
  if (sealer === null) return [line('master key', 'unknown', 'none yet: the first server makes it')];
  const broken = clients.filter((client) => !opens(client, sealer)).map(({ id }) => id);
  if (broken.length === 0) return [line('master key', 'ok', 'opens the keys of every client')];
  const what = `the keys of ${broken.join(', ')} were changed in the store: revoke them`;
  return [line('master key', 'refused', what)];
}

function opens({ id, keys }: ClientRecord, sealer: Sealer): boolean {
  try {
    for (const { request, response } of keys) {
      sealer.open(id, 'request', request);
      sealer.open(id, 'response', response);
    }
    return true;
  } catch {
    return false;
  }
}

function clientLines(clients: readonly ClientRecord[], nowMs: number): readonly Line[] {
  const revoked = clients.filter(({ revokedMs }) => revokedMs !== null);
  const living = clients.filter(({ revokedMs }) => revokedMs === null);
  const ends = living.flatMap(({ id, terms: { expiresMs } }) =>
    expiresMs === null ? [] : [{ id, expiresMs }],
  );
  const over = ends.filter(({ expiresMs }) => expiresMs <= nowMs);
  const soon = ends.filter(({ expiresMs }) => expiresMs > nowMs && expiresMs < nowMs + SOON_MS);
  const rotating = living.filter(({ keys }) => keys.length > 1);
  const named = (those: readonly { readonly id: string }[]) => those.map(({ id }) => id).join(', ');
  const lines = [
    line('clients', 'ok', `${clients.length}, of them ${revoked.length} revoked and ${over.length} expired`),
  ];
  if (soon.length > 0) {
    const dates = soon.map(({ id, expiresMs }) => `${id} on ${dateText(expiresMs)}`);
    lines.push(line('expiry', 'warning', `${dates.join(', ')}: "waybill clients set" gives more time`));
  }
  if (rotating.length > 0) {
    const how = 'end it with "waybill clients rotate --finish" when their hosts are changed over';
    lines.push(line('rotation', 'warning', `${named(rotating)} can still use the previous keys: ${how}`));
  }
  return lines;
}

async function auditLine({ audit }: ClientStore, nowMs: number): Promise<Line> {
  const { readTail } = await import('../audit/reader.ts');
  const { records } = await readTail(audit, 1, () => true);
  const [newest] = records;
  if (newest === undefined) return line('audit', 'unknown', 'none yet: it begins when a server starts');
  const at = `the newest record, ${newest.type}, is of ${dateText(newest.ms)}`;
  if (newest.type === 'damaged')
    return line('audit', 'refused', 'the newest line is no record: see "waybill audit verify"');
  // A process that is alive signs a head in this time, whatever happens.
  if (newest.type === 'close' || nowMs - newest.ms < 2 * AUDIT_LIMITS.idleHeadMs)
    return line('audit', 'ok', at);
  return line('audit', 'warning', `${at}: no server runs there, or it cannot write`);
}
