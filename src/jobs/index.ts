export { createSqliteDispatcher } from './dispatchers/sqlite.ts';
export type { Dispatcher } from './dispatcher.ts';
export { startSweeper } from './sweeper.ts';
export { startWorker, type Worker } from './worker.ts';
export { until } from './until.ts';
