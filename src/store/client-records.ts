import { StoreError } from '../errors/index.ts';
import type { KeyTexts } from '../wire/algorithms.ts';
import type { AlgorithmName } from '../wire/envelope.ts';
import { isObject } from '../wire/json.ts';
import { isAlgorithmName } from '../wire/signature-form.ts';

/** What a client may do, and until when. */
export interface ClientTerms {
  /** Patterns of tool names, `*` for any run of characters; a tool must fit one of them. */
  readonly scopes: readonly string[];
  readonly callsPerMinute: number | null;
  /** Jobs that are queued or running. */
  readonly maxOpenJobs: number | null;
  /** Jobs of one day, in UTC. */
  readonly jobsPerDay: number | null;
  /** From when on it is refused. */
  readonly expiresMs: number | null;
  /** The operator's own words. */
  readonly note: string;
}

/** What holds for a client of whom nothing else is said. */
export const OPEN_TERMS: ClientTerms = Object.freeze({
  scopes: Object.freeze(['*']),
  callsPerMinute: null,
  maxOpenJobs: null,
  jobsPerDay: null,
  expiresMs: null,
  note: '',
});

/** A client as it is kept. */
export interface ClientRecord {
  readonly id: string;
  readonly algorithm: AlgorithmName;
  /** By generation, the current one first; at most two (docs/protocol.md §3). Sealed by the server, see `Sealer`. */
  readonly keys: readonly [KeyTexts, ...KeyTexts[]];
  /** SHA-256 of its bearer tokens in base64url, the newest first; at most two. */
  readonly tokenHashes: readonly string[];
  readonly terms: ClientTerms;
  readonly revokedMs: number | null;
  readonly createdMs: number;
  /** Grows with each update. */
  readonly revision: number;
}

/** Is told which client's record cannot be read, and why; nothing of the record is in the error. */
export type OnDamaged = (id: string, error: unknown) => void;

export interface ClientRecords {
  /** `false`: a client of this id exists and was left as it is. */
  add(client: ClientRecord): Promise<boolean>;
  /** @throws StoreError also when the record is damaged */
  get(id: string): Promise<ClientRecord | null>;
  /**
   * Puts the record in the place of the one of the same revision, under the next revision. `false`: there is no such
   * client, or it has changed since; nothing was written.
   */
  update(client: ClientRecord): Promise<boolean>;
  /** In the order of their ids. A record that is damaged is left out: the others are not to suffer from it. */
  list(onDamaged?: OnDamaged): Promise<readonly ClientRecord[]>;
  /** Another value than before: clients may have changed since, here or in another process. */
  version(): Promise<number>;
  /** Tells which master key seals the secrets; `null` until the first one has. */
  sealMark(): Promise<string | null>;
  /** Sets the mark unless there is one. @returns the one that holds now */
  setSealMark(mark: string): Promise<string>;
  /**
   * Once the secrets that lay open before there was a mark are sealed: removes what is left of them in the store's files.
   *
   * @throws StoreError when that cannot be done now; the next call tries again
   */
  scrub(): Promise<void>;
}

/** A client's columns, the same in every store. JSON is text. */
export interface ClientColumns {
  readonly id: string;
  readonly algorithm: string;
  readonly request_keys: string;
  readonly response_keys: string;
  readonly token_hashes: string;
  readonly terms: string;
  readonly revoked_ms: number | null;
  readonly created_ms: number;
  readonly revision: number;
}

export function toColumns(client: ClientRecord): ClientColumns {
  return {
    id: client.id,
    algorithm: client.algorithm,
    request_keys: JSON.stringify(client.keys.map(({ request }) => request)),
    response_keys: JSON.stringify(client.keys.map(({ response }) => response)),
    token_hashes: JSON.stringify(client.tokenHashes),
    terms: JSON.stringify(client.terms),
    revoked_ms: client.revokedMs,
    created_ms: client.createdMs,
    revision: client.revision,
  };
}

/** @param row the columns above, as a driver gives them. @throws StoreError for a row that is damaged */
export function fromColumns(row: Readonly<Record<string, unknown>>): ClientRecord {
  const id = String(row['id']);
  const { algorithm } = row;
  const requests = parsed(row['request_keys']);
  const responses = parsed(row['response_keys']);
  const tokenHashes = parsed(row['token_hashes']);
  const terms = parsed(row['terms']);
  if (!isAlgorithmName(algorithm)) throw damaged(id, 'algorithm');
  if (!isTexts(requests)) throw damaged(id, 'request_keys');
  if (!isTexts(responses) || responses.length !== requests.length) throw damaged(id, 'response_keys');
  if (!isTexts(tokenHashes)) throw damaged(id, 'token_hashes');
  if (!areTerms(terms)) throw damaged(id, 'terms');
  const [current, ...previous] = requests.map((request, n) => ({ request, response: responses[n] ?? '' }));
  if (current === undefined) throw damaged(id, 'request_keys');
  return {
    id,
    algorithm,
    keys: [current, ...previous],
    tokenHashes,
    terms: { ...OPEN_TERMS, ...terms },
    revokedMs: row['revoked_ms'] === null ? null : Number(row['revoked_ms']),
    createdMs: Number(row['created_ms']),
    revision: Number(row['revision']),
  };
}

/** The records of all rows that can be read; of the others `onDamaged` is told. */
export function listFrom(
  rows: readonly Readonly<Record<string, unknown>>[],
  onDamaged: OnDamaged = () => {},
): readonly ClientRecord[] {
  return rows.flatMap((row) => {
    try {
      return [fromColumns(row)];
    } catch (error) {
      onDamaged(String(row['id']), error);
      return [];
    }
  });
}

function damaged(id: string, column: keyof ClientColumns): StoreError {
  return new StoreError(`the record of client ${id} is damaged: ${column}`);
}

/** `undefined` for what is no JSON. */
function parsed(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return undefined;
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string');
}

/** What is left out was not said when they were written, and holds as if nothing were said. */
function areTerms(value: unknown): value is Partial<ClientTerms> {
  if (!isObject(value)) return false;
  const { scopes = [], note = '', callsPerMinute, maxOpenJobs, jobsPerDay, expiresMs } = value;
  const numbers = [callsPerMinute, maxOpenJobs, jobsPerDay, expiresMs];
  const areNumbers = numbers.every((number = null) => number === null || typeof number === 'number');
  return isTexts(scopes) && typeof note === 'string' && areNumbers;
}
