import { ALGORITHMS, fingerprintOf } from '../../wire/algorithms.ts';
import { DEFAULT_ALGORITHM } from '../../wire/credential.ts';
import type { ClientRecord, ClientTerms } from '../../store/index.ts';
import type { Sealer } from '../../server/clients/sealer.ts';
import { countText, dateText, printable } from '../output.ts';

/** What a client may do, as programs are told of it. */
interface TermsView {
  readonly expires_ms: number | null;
  readonly scopes: readonly string[];
  readonly calls_per_minute: number | null;
  readonly max_open_jobs: number | null;
  readonly jobs_per_day: number | null;
  readonly note: string;
}

/** A client without its secrets, likewise. */
export interface ClientView extends TermsView {
  readonly client_id: string;
  readonly algorithm: string;
  readonly created_ms: number;
  readonly revoked_ms: number | null;
  /** Of the current response key; `null` when the keys do not open. */
  readonly fingerprint: string | null;
  /** The current ones first. */
  readonly keys: readonly KeyView[];
  readonly tokens: number;
}

interface KeyView {
  /** Names the request key in the audit. */
  readonly key_id: string;
  /** Names the response key (docs/protocol.md §3). */
  readonly fingerprint: string;
}

export function viewOfTerms(terms: ClientTerms): TermsView {
  const { expiresMs, scopes, callsPerMinute, maxOpenJobs, jobsPerDay, note } = terms;
  return {
    expires_ms: expiresMs,
    scopes,
    calls_per_minute: callsPerMinute,
    max_open_jobs: maxOpenJobs,
    jobs_per_day: jobsPerDay,
    note,
  };
}

export function viewOf(client: ClientRecord, sealer: Sealer): ClientView {
  const { id, algorithm, createdMs, revokedMs, terms, tokenHashes } = client;
  const keys = keysOf(client, sealer);
  return {
    client_id: id,
    algorithm,
    created_ms: createdMs,
    revoked_ms: revokedMs,
    ...viewOfTerms(terms),
    fingerprint: keys[0]?.fingerprint ?? null,
    keys,
    tokens: tokenHashes.length,
  };
}

function keysOf({ id, algorithm, keys }: ClientRecord, sealer: Sealer): readonly KeyView[] {
  try {
    return keys.map(({ request, response }) => ({
      key_id: fingerprintOf(sealer.open(id, 'request', request)),
      fingerprint: ALGORITHMS[algorithm].fingerprint(sealer.open(id, 'response', response)),
    }));
  } catch {
    // Somebody changed the record: the server refuses this client, and serves the others.
    return [];
  }
}

/** What a list says behind a client, in a few words. */
export function remarks(view: ClientView, nowMs: number): string {
  const { algorithm, keys, tokens, revoked_ms, expires_ms } = view;
  return [
    algorithm === DEFAULT_ALGORITHM ? '' : algorithm,
    tokens === 0 ? '' : countText(tokens, 'token'),
    keys.length > 1 ? 'rotating' : '',
    revoked_ms === null ? expiryText(expires_ms, nowMs) : 'revoked',
    keys.length === 0 ? 'keys do not open' : '',
  ]
    .filter((part) => part !== '')
    .join(', ');
}

function expiryText(ms: number | null, nowMs: number): string {
  if (ms === null) return '';
  return `${ms <= nowMs ? 'expired' : 'expires'} ${dateText(ms)}`;
}

/** All of it, for a person: names and values. */
export function rowsOf(view: ClientView, nowMs: number): readonly (readonly [string, string])[] {
  const { revoked_ms, expires_ms, keys, tokens } = view;
  const generations = keys.map(({ fingerprint, key_id }, n): readonly [string, string] => [
    n === 0 ? 'keys' : 'keys before',
    `fingerprint ${fingerprint}, key id ${key_id}`,
  ]);
  return [
    ['client', view.client_id],
    ['added', dateText(view.created_ms)],
    ...(revoked_ms === null ? [] : [['revoked', dateText(revoked_ms)] as const]),
    ['expires', expires_ms === null ? 'never' : expiryText(expires_ms, nowMs).replace(/^expires /, '')],
    ['algorithm', view.algorithm],
    ...(generations.length > 0 ? generations : [['keys', 'do not open: the record was changed'] as const]),
    ['tokens', String(tokens)],
    ['scopes', view.scopes.join(' ')],
    ['calls per minute', limitText(view.calls_per_minute)],
    ['max open jobs', limitText(view.max_open_jobs)],
    ['jobs per day', limitText(view.jobs_per_day)],
    ['note', printable(view.note)],
  ];
}

function limitText(limit: number | null): string {
  return limit === null ? 'none' : String(limit);
}
