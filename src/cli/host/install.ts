import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import { type Edit, editConfig } from '../../mcp/install/edit.ts';
import { type ConfigFile, readConfig, writeConfig } from '../../mcp/install/config-file.ts';
import { entryOf } from '../../mcp/install/entry.ts';
import { type Host, HOSTS, type Scope } from '../../mcp/install/hosts.ts';
import { credentialOf } from '../client.ts';
import { Failure } from '../exits.ts';
import { credentialOption, jsonOption } from '../options.ts';
import { note, print, printable } from '../output.ts';
import { addVerb } from '../verb.ts';

interface InstallFlags {
  readonly credential?: string;
  readonly name?: string;
  readonly scope: Scope;
  readonly remove?: true;
  readonly replace?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly json?: true;
}

/** Everything that a run is about, found out before anything is asked or written. */
interface Plan {
  readonly host: Host;
  readonly name: string;
  readonly entry: object | null;
  readonly file: ConfigFile;
  readonly edit: Edit;
}

export function addInstall(program: Command): void {
  const command = addVerb(program, 'install', {
    summary: 'Let a host of the Model Context Protocol start "waybill connect".',
    detail:
      `Hosts: ${hostList()}. It shows the change and asks first, keeps a backup beside the ` +
      'configuration, and leaves everything else in it as it is.',
    examples: [
      'install claude-code --credential alice.json',
      'install vscode --credential alice.json --scope project --yes',
      'install cursor --credential alice.json --dry-run',
      'install cursor --name waybill --remove',
    ],
  })
    .argument('<host>', 'program that is to have the tools', knownHost)
    .addOption(credentialOption())
    .addOption(
      new Option('--name <name>', 'name of the entry (default: server id of the credential)').argParser(
        entryName,
      ),
    )
    .addOption(
      new Option('--scope <scope>', 'for you everywhere, or in this folder only')
        .choices(['user', 'project'])
        .default('user'),
    )
    .addOption(new Option('--remove', 'take the entry away'))
    .addOption(new Option('--replace', 'also an entry of this name that does not start waybill'))
    .addOption(new Option('--dry-run', 'show the change and end'))
    .addOption(new Option('--yes', 'do not ask'))
    .addOption(jsonOption());
  command.action(async (host: string, options: InstallFlags) => {
    if (options.credential === undefined && !(options.remove && options.name !== undefined))
      command.error(
        `${options.remove ? "name the entry: option '--name <name>'" : "required option '--credential <file>'"} not specified`,
      );
    await install(planOf(host, options), host, options);
  });
}

function hostList(): string {
  return Object.entries(HOSTS)
    .map(([name, { label }]) => `${name} (${label})`)
    .join(', ');
}

function knownHost(name: string): string {
  if (Object.hasOwn(HOSTS, name)) return name;
  throw new Failure('wrongUse', 'usage', `there is no host ${printable(name)}; known are ${hostList()}`);
}

function entryName(name: string): string {
  // What every host takes.
  if (/^[\w-]{1,64}$/.test(name)) return name;
  throw new InvalidArgumentError('It must be 1-64 of A-Z a-z 0-9 _ -.');
}

/** @throws SetupError when the credential or the configuration cannot be used */
function planOf(hostName: string, options: InstallFlags): Plan {
  const { credential: path, scope, remove = false, replace = false } = options;
  const host = HOSTS[hostName];
  const fileOf = host?.files[scope];
  if (host === undefined || fileOf === undefined)
    throw new SetupError(`${hostName} has no configuration for a project: leave --scope project away`);
  const credential = path === undefined ? null : credentialOf({ credential: path });
  const name = options.name ?? nameOf(credential?.server_id ?? '');
  const entry = remove || path === undefined ? null : entryOf(host, scriptPath(), resolve(path));
  const { platform, env } = process;
  const file = readConfig(fileOf({ platform, env, home: homedir(), cwd: process.cwd() }));
  const edit = editConfig(file.text, file.path, { member: host.member, name, entry, replace });
  return { host, name, entry, file, edit };
}

/** A server id as a name that every host takes. */
function nameOf(serverId: string): string {
  return serverId.replace(/[^\w-]+/g, '-').slice(0, 64);
}

/** The command line as it is installed here. */
function scriptPath(): string {
  return fileURLToPath(new URL('../main.js', import.meta.url));
}

async function install(plan: Plan, hostName: string, options: InstallFlags): Promise<void> {
  const { host, name, entry, file, edit } = plan;
  const { dryRun = false, json = false, scope } = options;
  const facts = { host: hostName, scope, file: file.path, name, action: edit.action, entry };
  if (edit.action === 'none') {
    const text = entry === null ? `${file.path} has no entry ${name}` : `${file.path} has this entry already`;
    return print({ ...facts, written: false, backup: null }, json, text);
  }
  const shown = changeText(plan).join('\n');
  if (dryRun) return print({ ...facts, written: false, backup: null }, json, shown);
  if (!json) note(shown);
  await confirm(options);
  if (scope === 'user' && !existsSync(dirname(file.path)))
    note(`${dirname(file.path)} does not exist and is made: is ${host.label} installed here?`);
  const backup = writeConfig(file, edit.text, scope === 'user' ? 0o600 : 0o644, new Date());
  const kept = backup === null ? '' : `; the file before it is ${backup}`;
  print(
    { ...facts, written: true, backup },
    json,
    `${file.path} is written${kept}\nnow in ${host.label}: ${entry === null ? 'start it again' : host.then}`,
  );
}

/** Like a diff: what goes and what comes, nothing of what stays, for other entries hold secrets of others. */
function changeText({ host, name, entry, file, edit }: Plan): readonly string[] {
  // The configuration is JSON, and so is every part of it.
  const before = edit.before === null ? [] : linesOf(JSON.parse(edit.before));
  const after = entry === null ? [] : linesOf(entry);
  const marked = (mark: string, lines: readonly string[]) =>
    lines.map((line) => `${mark} ${/^\s*/.exec(line)?.[0] ?? ''}${printable(line)}`);
  return [`${file.path}, ${host.member}.${name}:`, ...marked('-', before), ...marked('+', after)];
}

function linesOf(value: unknown): readonly string[] {
  return JSON.stringify(value, null, 2).split('\n');
}

async function confirm({ yes, json }: InstallFlags): Promise<void> {
  if (yes) return;
  if (json || !process.stdin.isTTY || !process.stderr.isTTY)
    throw new Failure(
      'wrongUse',
      'usage',
      'nobody is here to be asked: add --yes to write this, or --dry-run',
    );
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question('Write this? [y/N] ');
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    terminal.close();
  }
  throw new Failure('wrongUse', 'usage', 'nothing was written');
}
