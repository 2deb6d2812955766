export { type Policy, type Reply, type ServerOptions } from '../server/index.ts';
export {
  createServer,
  type Credential,
  type Endpoint,
  type NewClient,
  type Server,
} from '../server/index.ts';
export { createFetchHandler } from './fetch-handler.ts';
export { inProcess } from './in-process.ts';
export { type Listener, type ListenOptions, listen } from './node-http.ts';
export { serveStdio } from './stdio.ts';
