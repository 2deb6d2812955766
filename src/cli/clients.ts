import { closeSync, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { SetupError } from '../errors/index.ts';
import type { NewClient } from '../transports/index.ts';
import { wrongUse } from './exits.ts';
import {
  clientIdArgument,
  dataOption,
  DEFAULT_PORT,
  DEFAULT_SERVER_ID,
  filled,
  jsonOption,
  serverIdOption,
  urlOption,
} from './options.ts';
import { dateText, note, print, table } from './output.ts';
import { readSecretFile, reasonOf } from './secret-file.ts';
import { addVerb } from './verb.ts';

interface AddOptions {
  readonly serverId?: string;
  readonly data: string;
  readonly url: string;
  readonly requestKeyFile?: string;
  readonly responseKeyFile?: string;
  readonly allowWeakKey?: true;
  readonly out?: string;
  readonly json?: true;
}

interface ListOptions {
  readonly data: string;
  readonly json?: true;
}

export function addClients(program: Command): void {
  const group = addVerb(program, 'clients', {
    summary: 'Add and list the clients that a server believes; it may be running.',
    examples: ['clients add alice --out alice.json', 'clients list'],
  });
  addVerb(group, 'add', {
    summary: 'Add a client and print its credential: the only time that its secrets are shown.',
    detail:
      'A running server knows the client within a second. Secrets of your own come in two files, one for ' +
      'each direction; a line feed at the end of a file is not part of the secret.',
    examples: [
      'clients add alice --out alice.json',
      'clients add alice --server-id billing --data /var/lib/waybill --url https://billing.example/call --out alice.json',
      'clients add bob --request-key-file bob.request --response-key-file bob.response --out bob.json',
    ],
  })
    .addArgument(clientIdArgument())
    .addOption(serverIdOption())
    .addOption(dataOption())
    .addOption(
      urlOption('where the client finds the server').default(`http://127.0.0.1:${DEFAULT_PORT}/call`),
    )
    .addOption(keyFileOption('request', 'the client signs with'))
    .addOption(keyFileOption('response', 'the server signs with'))
    .addOption(new Option('--allow-weak-key', 'take secrets that are short or repeat themselves'))
    .addOption(
      new Option('--out <file>', 'write the credential to a new file, for its owner only').argParser(filled),
    )
    .addOption(jsonOption())
    .action(add);
  addVerb(group, 'list', { summary: 'List the clients, without their secrets.', examples: ['clients list'] })
    .addOption(dataOption())
    .addOption(jsonOption())
    .action(list);
}

function keyFileOption(direction: 'request' | 'response', what: string): Option {
  return new Option(
    `--${direction}-key-file <file>`,
    `file with the secret that ${what} (default: a new one)`,
  )
    .env(`WAYBILL_${direction.toUpperCase()}_KEY_FILE`)
    .argParser(filled);
}

async function add(id: string, options: AddOptions): Promise<void> {
  const keys = givenKeys(options);
  const { data, url, out, serverId, allowWeakKey = false, json } = options;
  const file = out === undefined ? null : createFile(out);
  try {
    const client = { id, url, allowWeakKey, ...keys };
    const credential = await addTo(data, serverId, client);
    const text = JSON.stringify(credential, null, 2);
    if (file === null) {
      print(credential, json, text);
      if (json !== true)
        note('These secrets are not shown again; --out writes them to a file that only you can read.');
      return;
    }
    writeSync(file, `${text}\n`);
    const { client_id, server_id } = credential;
    const done = `${out} is the credential of client ${client_id} for server ${server_id} at ${url}`;
    print({ client_id, server_id, url, file: out }, json, done);
  } catch (error) {
    if (out !== undefined) rmSync(out, { force: true });
    // Of the keys, or of the clients that there are; a TypeError is about the command line.
    throw error instanceof RangeError ? new SetupError(error.message, { cause: error }) : wrongUse(error);
  } finally {
    if (file !== null) closeSync(file);
  }
}

/** The secrets of the operator's own; without them there will be new ones. */
function givenKeys({ requestKeyFile, responseKeyFile }: AddOptions): Pick<NewClient, 'keys'> {
  if (requestKeyFile === undefined && responseKeyFile === undefined) return {};
  if (requestKeyFile === undefined || responseKeyFile === undefined) {
    throw new SetupError('give both --request-key-file and --response-key-file, or neither for new secrets');
  }
  return { keys: { request: readKey(requestKeyFile), response: readKey(responseKeyFile) } };
}

function readKey(path: string): string {
  return readSecretFile(path, 'key file').replace(/\r?\n$/, '');
}

/** A new file for its owner only, made before the client is: then a credential always has a place to go. */
function createFile(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const noFolder = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new SetupError(`cannot write ${path}: ${noFolder ? 'make its folder first' : reasonOf(error)}`);
  }
}

async function addTo(dir: string, serverId: string | undefined, client: NewClient) {
  const [{ addClient }, { openClientStore }] = await Promise.all([
    import('../server/index.ts'),
    import('../store/index.ts'),
  ]);
  const opened: ReturnType<typeof openClientStore>[] = [];
  const open = () => {
    opened[0] ??= openClientStore({ dir, serverId, defaultServerId: DEFAULT_SERVER_ID });
    return opened[0];
  };
  try {
    // Opened when the id and the keys are known to be good: a refusal leaves no folder behind.
    const store = {
      get clients() {
        return open().clients;
      },
      get serverId() {
        return open().serverId;
      },
    };
    return await addClient(store, client);
  } finally {
    await opened[0]?.close();
  }
}

async function list({ data: dir, json }: ListOptions): Promise<void> {
  // Opening makes what is missing; to look must not.
  if (!existsSync(join(dir, 'waybill.db'))) {
    throw new SetupError(`${dir} holds no data of a server: name its folder with --data`);
  }
  const [{ openClientStore }, { fingerprint, keyOf }] = await Promise.all([
    import('../store/index.ts'),
    import('../wire/signature.ts'),
  ]);
  const store = openClientStore({ dir });
  try {
    const clients = (await store.clients.list()).map(({ id, createdMs, responseKeys: [current] }) => ({
      client_id: id,
      created_ms: createdMs,
      fingerprint: fingerprint(keyOf(current ?? '')),
    }));
    const rows = clients.map((client) => [client.client_id, dateText(client.created_ms), client.fingerprint]);
    print({ server_id: store.serverId, clients }, json, rows.length === 0 ? 'no clients' : table(rows));
  } finally {
    await store.close();
  }
}
