import { ClientError, type ClientErrorKind } from '../../errors/index.ts';

/**
 * What a host is told when there is no answer to trust. The client's own words quote what came, cut and
 * printable, for a person at a terminal; here a model reads along, and whoever changed a reply wrote it for that.
 */
const WORDS: Readonly<Record<ClientErrorKind, string>> = {
  timeout: 'the server did not answer in time; whether the call ran is not known',
  connection: 'the server cannot be reached',
  reply_unverified: 'a reply came that does not prove to be of the server; it was thrown away',
};

/** The same failure without anything that came over the wire; the original is its `cause`. */
export function hostError(error: ClientError): ClientError {
  return new ClientError(
    error.kind,
    `${error.kind}: ${WORDS[error.kind]} (the log of waybill connect says more)`,
    {
      cause: error,
    },
  );
}
