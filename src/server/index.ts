export type { Policy } from './authorize.ts';
export { addClient, type Credential, type NewClient } from './clients.ts';
export { createServer, type Endpoint, type Server } from './create-server.ts';
export type { ServerOptions } from './options.ts';
export type { Reply } from './reply.ts';
