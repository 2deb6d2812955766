import type { AlgorithmName } from './envelope.ts';

/** The algorithm of a credential that names none. */
export const DEFAULT_ALGORITHM = 'hmac-sha256' satisfies AlgorithmName;

/** What a client needs to know to be believed by one server, and to believe it: as `waybill clients add` prints it. */
export interface Credential {
  readonly client_id: string;
  readonly server_id: string;
  /** Where requests are posted; only a client with a transport of its own can do without. */
  readonly url?: string;
  /** How both sides sign. Default `hmac-sha256`. */
  readonly algorithm?: AlgorithmName;
  /** Signs requests: a shared secret (`wb_…`), or with `ed25519` the client's private key (`wbs_…`). */
  readonly request_key: string;
  /** Verifies replies: another shared secret, or with `ed25519` the server's public key (`wbp_…`). */
  readonly response_key: string;
}

/** One that says where its server is, as every credential does that a server gives out. */
export interface PlacedCredential extends Credential {
  readonly url: string;
}

/** The same for a partner, who adds the private key that nobody else has as `request_key`. */
export type PartnerCredential = Omit<PlacedCredential, 'request_key'>;
