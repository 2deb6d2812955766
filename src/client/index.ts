export { ClientError, type ClientErrorKind, type Code, codeOf, ProtocolError } from '../errors/index.ts';
export {
  type CallOptions,
  type Client,
  type ClientOptions,
  createClient,
  type JobInfo,
  type JobsOptions,
  type ServerIdentity,
  type StartOptions,
  type ToolInfo,
} from './client.ts';
export type { Clock } from './clock.ts';
export { parseCredential } from './credential.ts';
export type { Credential } from '../wire/credential.ts';
export type { ExchangeOptions } from './exchange.ts';
export type {
  JobAnswer,
  JobHandle,
  JobProgress,
  JobQuestion,
  JobUpdate,
  WaitOptions,
} from './job-handle.ts';
export type { JobState } from './job-state.ts';
export type { AlgorithmName } from '../wire/envelope.ts';
export type { JsonObject, JsonValue } from '../wire/json.ts';
export type { Transport } from './transport.ts';
