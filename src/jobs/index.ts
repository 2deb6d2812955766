export { createSqliteDispatcher } from './dispatchers/sqlite.ts';
export type { Dispatcher } from './dispatcher.ts';
export { type Engine, openEngine } from './engine.ts';
export { type EngineUrls, NEEDS_POSTGRES, parseEngineUrls, publicUrls } from './engine-urls.ts';
export { startSweeper, type Sweeper } from './sweeper.ts';
export { startWorker, type Worker } from './worker.ts';
export { until } from './until.ts';
