export {
  createServer,
  createWorker,
  type Credential,
  type Endpoint,
  type NewClient,
  type Policy,
  type Reply,
  type Rotation,
  type Server,
  type ServerOptions,
  type Worker,
  type WorkerOptions,
} from '../server/index.ts';
export { createFetchHandler } from './fetch-handler.ts';
export { inProcess } from './in-process.ts';
export { type Listener, type ListenOptions, listen } from './node-http.ts';
export type { Route, RouteAnswer, RouteRequest } from './route.ts';
export { serveStdio } from './stdio.ts';
export type { TlsPair } from './tls.ts';
