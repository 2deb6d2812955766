/** Why a client has no answer it can trust; none of these ever crosses the wire. */
export type ClientErrorKind = 'timeout' | 'connection' | 'reply_unverified';

/** The client got no answer, or none that it may believe (docs/protocol.md §8, last line). */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly kind: ClientErrorKind;

  constructor(kind: ClientErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
