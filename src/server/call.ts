import type { Answers } from '../tools/index.ts';
import type { JsonObject } from '../wire/index.ts';
import type { Client, Generation } from './clients/key-ring.ts';

declare const proven: unique symbol;

/** A call whose sender is proven: by a fresh signature (admit.ts), or on another wire by a token (calls.ts). */
export interface Call {
  readonly [proven]: true;
  readonly client: Client;
  readonly requestId: string;
  readonly tool: string;
  readonly args: JsonObject;
  /** The canonical text of `args`. */
  readonly argsText: string;
  /** To what the tool asks before it runs. */
  readonly answers: Answers;
  /** May the same `requestId` come again, as an honest retry (docs/protocol.md §5)? */
  readonly mayRepeat: boolean;
  /** Whose response key answers. */
  readonly generation: Generation;
}

/** The only place that makes a Call: for who has just proven its sender. */
export function provenCall(call: Omit<Call, typeof proven>): Call {
  return call as Call;
}
