export type { Policy } from './authorize.ts';
export type { NewClient } from './clients/clients.ts';
export type { PlacedCredential as Credential } from '../wire/credential.ts';
export type { Rotation } from './clients/rotation.ts';
export { createServer, type Endpoint, type Server } from './create-server.ts';
export { createWorker, type Worker } from './create-worker.ts';
export type { ServerOptions, WorkerOptions } from './options.ts';
export type { Reply } from './reply.ts';
