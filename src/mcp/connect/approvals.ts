import { createHmac, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Credential } from '../../wire/credential.ts';
import { SetupError, systemCodeOf } from '../../errors/index.ts';
import { CONNECT_LIMITS } from '../../limits.ts';
import { canonicalize, isObject, parseJson } from '../../wire/index.ts';
import { writeWhole } from '../write-file.ts';
import { type Definition, type Definitions, isDefinition } from './definition.ts';

/** The definitions of tools that were approved for one credential, in a file beside it. */
export interface Approvals {
  readonly path: string;
  /** What is approved now; null: nothing was ever. @throws SetupError for a file that cannot be believed */
  read(): Definitions | null;
  /** @throws SetupError when the file cannot be written; it is then as it was */
  write(definitions: Definitions): void;
}

/** What the MAC is over begins with this, as no message of the protocol does: they begin with `{`. */
const PURPOSE = 'waybill approved tools\n';

/**
 * The approvals of a credential. The file carries a MAC under its request key: who changes the file without
 * holding the credential approves nothing, and neither does a file that was left behind by another credential.
 */
export function approvalsOf(credentialPath: string, credential: Credential): Approvals {
  const path = `${credentialPath}.tools.json`;
  const { client_id, server_id, request_key } = credential;

  const macOf = (tools: object): string =>
    createHmac('sha256', request_key)
      .update(PURPOSE + canonicalize({ client_id, server_id, tools }))
      .digest('hex');

  return {
    path,
    read() {
      const text = readText(path);
      if (text === null) return null;
      const file = parse(text);
      if (file === null) throw refusal(path, 'is not a file of approved tools');
      if (!isOfMac(file, macOf)) throw refusal(path, 'was changed, or belongs to another credential');
      return new Map(Object.entries(file.tools));
    },
    write(definitions) {
      const tools = Object.fromEntries(definitions);
      const text = `${JSON.stringify({ tools, mac: macOf(tools) }, null, 2)}\n`;
      try {
        writeWhole(path, text, 0o600);
      } catch (error) {
        throw new SetupError(`cannot write ${path}: ${wordsOf(error)}`, { cause: error });
      }
    },
  };
}

function refusal(path: string, problem: string): SetupError {
  return new SetupError(
    `${path} ${problem}: if you know why, remove it, and the tools are approved anew as they are at the next start`,
  );
}

/** @returns null when there is no file */
function readText(path: string): string | null {
  let file: number;
  try {
    // A pipe must not block.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw new SetupError(`cannot read ${path}: ${wordsOf(error)}`, { cause: error });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > CONNECT_LIMITS.maxApprovalsBytes)
      throw refusal(path, 'is not a file of approved tools');
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

interface ToolsFile {
  readonly mac: string;
  readonly tools: Readonly<Record<string, Definition>>;
}

function parse(text: string): ToolsFile | null {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    return null;
  }
  const { mac, tools } = isObject(value) ? value : {};
  if (typeof mac !== 'string' || !isObject(tools)) return null;
  const checked = Object.entries(tools).filter((entry): entry is [string, Definition] =>
    isDefinition(entry[1]),
  );
  return checked.length === Object.keys(tools).length ? { mac, tools: Object.fromEntries(checked) } : null;
}

function isOfMac({ mac, tools }: ToolsFile, macOf: (tools: object) => string): boolean {
  try {
    const [given, right] = [Buffer.from(mac), Buffer.from(macOf(tools))];
    return given.length === right.length && timingSafeEqual(given, right);
  } catch (error) {
    // Something in it has no canonical form: nothing of ours then.
    if (error instanceof TypeError) return false;
    throw error;
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
