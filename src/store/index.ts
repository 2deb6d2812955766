export { newJobId } from './job-id.ts';
export {
  type Attempt,
  type Dispatch,
  type DueJob,
  type Fence,
  isTerminal,
  type JobEnd,
  type JobRecord,
  type JobSummary,
  type NewJob,
  type NewRequest,
  type Outcome,
  type RecordStore,
  type RequestRecord,
} from './record-store.ts';
export {
  openClientStore,
  openSqliteStore,
  type SqliteOptions,
  type SqliteStore,
} from './sqlite/open.ts';
