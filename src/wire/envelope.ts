import type { JsonObject } from './json.ts';

/** A request as it stands on the wire (docs/protocol.md §1). */
export interface RequestMessage {
  readonly v: string;
  readonly request_id: string;
  readonly ts_ms: number;
  readonly client_id: string;
  readonly server_id: string;
  readonly tool: string;
  readonly args: JsonObject;
  readonly nonce: string;
  readonly signature: string;
}

export type Status = 'ok' | 'accepted' | 'running' | 'done' | 'error';

/** A response as it stands on the wire (docs/protocol.md §1). */
export interface ResponseMessage {
  readonly v: string;
  readonly request_id: string;
  readonly ts_ms: number;
  readonly server_id: string;
  readonly ok: boolean;
  readonly status: Status;
  readonly result: JsonObject | null;
  readonly error: string | null;
  readonly signature: string;
}

export type Unsigned<Message extends { readonly signature: string }> = Omit<Message, 'signature'>;

/** `request_id` of a refusal when the request showed none that could be echoed. */
export const NO_REQUEST_ID = '-';

/** What a `client_id` and a `server_id` must be (docs/protocol.md §1). */
export const ID_RULE = '1-128 of A-Z a-z 0-9 . _ : @ / -, first a letter or digit';

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$/;

/** Does the value keep that rule? */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

/** How messages are signed; which one holds for a client stands in its record, never in a message. */
export type AlgorithmName = 'hmac-sha256' | 'ed25519';
