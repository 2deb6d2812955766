import { type Command, Option } from 'commander';
import { SetupError } from '../errors/index.ts';
import type { Credential, NewClient } from '../transports/index.ts';
import type { EngineUrls } from '../jobs/engine-urls.ts';
import { openClients, refuseMissing } from './client-store.ts';
import { addClientsToken } from './clients-token.ts';
import { addStoreOptions, dataOption, engineUrls } from './engine-options.ts';
import { wrongUse } from './exits.ts';
import { withNewFile } from './new-file.ts';
import {
  clientIdArgument,
  DEFAULT_PORT,
  DEFAULT_SERVER_ID,
  filled,
  jsonOption,
  serverIdOption,
  urlOption,
} from './options.ts';
import { dateText, note, print, table } from './output.ts';
import { readSecretFile } from './secret-file.ts';
import { addVerb } from './verb.ts';

interface AddOptions {
  readonly serverId?: string;
  readonly url: string;
  readonly requestKeyFile?: string;
  readonly responseKeyFile?: string;
  readonly allowWeakKey?: true;
  readonly out?: string;
  readonly json?: true;
}

interface ListOptions {
  readonly json?: true;
}

export function addClients(program: Command): void {
  const group = addVerb(program, 'clients', {
    summary: 'Add and list the clients that a server believes, and give them tokens; it may be running.',
    examples: ['clients add alice --out alice.json', 'clients list', 'clients token alice'],
  });
  const adding = addVerb(group, 'add', {
    summary: 'Add a client and print its credential: the only time that its secrets are shown.',
    detail:
      'A running server knows the client within a second. Secrets of your own come in two files, one for ' +
      'each direction; a line feed at the end of a file is not part of the secret.',
    examples: [
      'clients add alice --out alice.json',
      'clients add alice --server-id billing --data /var/lib/waybill --url https://billing.example/call --out alice.json',
      'clients add alice --store-file store.url --out alice.json',
      'clients add bob --request-key-file bob.request --response-key-file bob.response --out bob.json',
    ],
  })
    .addArgument(clientIdArgument())
    .addOption(serverIdOption())
    .addOption(dataOption());
  addStoreOptions(adding)
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
    .action((id: string, options: AddOptions) => add(id, engineUrls(adding), options));
  const listing = addVerb(group, 'list', {
    summary: 'List the clients, without their secrets.',
    examples: ['clients list', 'clients list --store-file store.url'],
  }).addOption(dataOption());
  addStoreOptions(listing)
    .addOption(jsonOption())
    .action((options: ListOptions) => list(engineUrls(listing), options));
  addClientsToken(group);
}

function keyFileOption(direction: 'request' | 'response', what: string): Option {
  return new Option(
    `--${direction}-key-file <file>`,
    `file with the secret that ${what} (default: a new one)`,
  )
    .env(`WAYBILL_${direction.toUpperCase()}_KEY_FILE`)
    .argParser(filled);
}

async function add(id: string, urls: EngineUrls, options: AddOptions): Promise<void> {
  const keys = givenKeys(options);
  const { url, out, serverId, allowWeakKey = false, json } = options;
  await withNewFile(out, async (write) => {
    const credential = await addTo(urls, serverId, { id, url, allowWeakKey, ...keys });
    const text = JSON.stringify(credential, null, 2);
    if (write === null) {
      print(credential, json, text);
      if (json !== true)
        note('These secrets are not shown again; --out writes them to a file that only you can read.');
      return;
    }
    write(text);
    const { client_id, server_id } = credential;
    const done = `${out} is the credential of client ${client_id} for server ${server_id} at ${url}`;
    print({ client_id, server_id, url, file: out }, json, done);
  });
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

/** @throws SetupError, Failure */
async function addTo(urls: EngineUrls, serverId: string | undefined, client: NewClient): Promise<Credential> {
  const { addClient, checkClient } = await import('../server/index.ts');
  try {
    // Before the store is opened: a refusal leaves no folder and no tables behind.
    checkClient(client);
    const store = await openClients(urls, { serverId, defaultServerId: DEFAULT_SERVER_ID });
    try {
      return await addClient(store, client);
    } finally {
      await store.close();
    }
  } catch (error) {
    // Of the keys, or of the clients that there are; a TypeError is about the command line.
    throw error instanceof RangeError ? new SetupError(error.message, { cause: error }) : wrongUse(error);
  }
}

async function list(urls: EngineUrls, { json }: ListOptions): Promise<void> {
  refuseMissing(urls);
  const { fingerprint, keyOf } = await import('../wire/signature.ts');
  const store = await openClients(urls, {});
  try {
    const clients = (await store.clients.list()).map(
      ({ id, createdMs, responseKeys: [current], tokenHashes }) => ({
        client_id: id,
        created_ms: createdMs,
        fingerprint: fingerprint(keyOf(current ?? '')),
        tokens: tokenHashes.length,
      }),
    );
    const rows = clients.map(({ client_id, created_ms, fingerprint: shown, tokens }) => [
      client_id,
      dateText(created_ms),
      shown,
      tokens === 0 ? '' : `${tokens} token${tokens === 1 ? '' : 's'}`,
    ]);
    print({ server_id: store.serverId, clients }, json, rows.length === 0 ? 'no clients' : table(rows));
  } finally {
    await store.close();
  }
}
