import { createSecretKey, type KeyObject, randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isOpenToOthers, syncFolder, writeAll } from '../../disk.ts';
import { SetupError, systemCodeOf } from '../../errors/index.ts';
import type { EngineUrls } from '../../jobs/index.ts';
import type { ClientRecord, RecordStore } from '../../store/index.ts';
import type { Logger } from '../../tools/index.ts';
import { generateSecret, weaknessOf } from '../../wire/index.ts';
import { changeClient } from './clients.ts';
import { createSealer, isSealed, type Sealer } from './sealer.ts';

const FILE = 'master.key';

type Clients = RecordStore['clients'];

/** What seals the secrets of a store and signs its audit. */
export interface Master {
  readonly key: KeyObject;
  readonly sealer: Sealer;
  /** The file that was made for it just now; `null` if the key was there. */
  readonly madeFile: string | null;
}

/** Where the file with the master key is, if none is given. */
export function masterFolder(urls: EngineUrls): string {
  return urls.kind === 'sqlite' ? urls.dir : '.waybill';
}

/**
 * The master key of a store: the one that is given, else the file in the folder, which is made if nothing has been
 * sealed yet. Secrets that lie open, from before there was a master key, are sealed.
 *
 * @param given at least 32 random bytes as text, as `generateSecret` makes it
 * @throws SetupError for a key that is weak, lost or another than the one of the store
 */
export async function openMaster(
  clients: Clients,
  given: string | undefined,
  folder: string,
  log?: Pick<Logger, 'debug' | 'warn'>,
): Promise<Master> {
  const mark = await clients.sealMark();
  const { text, madeFile } =
    given === undefined ? fromFile(join(folder, FILE), mark === null) : { text: given, madeFile: null };
  const key = keyFrom(text, given === undefined ? ` in ${join(folder, FILE)}` : '');
  const sealer = createSealer(key);
  const holds = mark ?? (await clients.setSealMark(sealer.mark));
  if (holds !== sealer.mark) {
    // Somebody else's became the one of the store at the same moment: a file that fits nothing helps nobody.
    if (madeFile !== null) rmSync(madeFile, { force: true });
    throw otherKey(holds, sealer);
  }
  for (const client of await clients.list()) {
    if (liesOpen(client)) await changeClient({ clients }, client.id, (newest) => sealed(newest, sealer));
  }
  await clients.scrub().catch((error: unknown) => {
    const left = 'the secrets are sealed, but copies from before may be in the files of the store';
    log?.warn({ err: error }, `${left}: the next start tries again`);
  });
  if (madeFile !== null)
    log?.debug({ file: madeFile }, 'made a master key: without it no client of this store is known any more');
  return { key, sealer, madeFile };
}

function otherKey(holds: string, { mark }: Sealer): SetupError {
  return new SetupError(
    `the secrets of this store are sealed under another master key (mark ${holds}, not ${mark}): ` +
      'give the one that its first server had, with WAYBILL_MASTER_KEY_FILE',
  );
}

/** The same for a look that changes nothing. @returns `null`: nothing has been sealed there yet */
export async function checkMaster(
  clients: Pick<Clients, 'sealMark'>,
  given: string | undefined,
  folder: string,
): Promise<Sealer | null> {
  const mark = await clients.sealMark();
  if (mark === null) return null;
  const path = join(folder, FILE);
  const text = given ?? fromFile(path, false).text;
  const sealer = createSealer(keyFrom(text, given === undefined ? ` in ${path}` : ''));
  if (mark !== sealer.mark) throw otherKey(mark, sealer);
  return sealer;
}

function keyFrom(text: string, where: string): KeyObject {
  const weakness = weaknessOf(text);
  if (weakness !== null) throw new SetupError(`the master key${where} ${weakness}`);
  return createSecretKey(Buffer.from(text, 'utf8'));
}

interface Found {
  readonly text: string;
  readonly madeFile: string | null;
}

/** @param mayMake nothing is sealed yet, so a new key loses nothing */
function fromFile(path: string, mayMake: boolean): Found {
  const text = readKey(path);
  if (text !== null) return { text, madeFile: null };
  if (!mayMake) {
    throw new SetupError(
      `the secrets of this store are sealed, and there is no master key in ${path}: ` +
        'bring that file back, or give the key with WAYBILL_MASTER_KEY_FILE',
    );
  }
  const isOurs = makeFile(path);
  return { text: readKey(path) ?? '', madeFile: isOurs ? path : null };
}

/** `null`: there is no such file. */
function readKey(path: string): string | null {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw new SetupError(`cannot read the master key: ${String(error)}`, { cause: error });
  }
  try {
    const { mode } = fstatSync(file);
    if (isOpenToOthers(mode)) {
      throw new SetupError(
        `the master key ${path} is open to other users (mode ${(mode & 0o777).toString(8)}): run chmod 600 on it`,
      );
    }
    return readFileSync(file, 'utf8').trimEnd();
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`cannot read the master key ${path}: ${String(error)}`, { cause: error });
  } finally {
    closeSync(file);
  }
}

/**
 * Whole or not at all, and on disk before anything is sealed with it. Another process may want it at the same
 * moment, and gets the same. @returns whether ours is the one that is there now
 */
function makeFile(path: string): boolean {
  const draft = `${path}.${randomUUID()}`;
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const file = openSync(draft, 'wx', 0o600);
    try {
      writeAll(file, Buffer.from(`${generateSecret()}\n`));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    linkSync(draft, path);
    syncFolder(folder);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    throw new SetupError(`cannot make the master key: ${String(error)}`, { cause: error });
  } finally {
    rmSync(draft, { force: true });
  }
}

function liesOpen({ keys }: ClientRecord): boolean {
  return !keys.every(({ request, response }) => isSealed(request) && isSealed(response));
}

function sealed(client: ClientRecord, sealer: Sealer): ClientRecord {
  const { id, keys } = client;
  const seal = ({ request, response }: ClientRecord['keys'][number]) => ({
    request: isSealed(request) ? request : sealer.seal(id, 'request', request),
    response: isSealed(response) ? response : sealer.seal(id, 'response', response),
  });
  const [current, ...previous] = keys;
  return { ...client, keys: [seal(current), ...previous.map(seal)] };
}
