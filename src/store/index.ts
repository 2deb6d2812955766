export { type ClientRecord, type ClientTerms, OPEN_TERMS } from './client-records.ts';
export { newJobId } from './job-id.ts';
export {
  type Attempt,
  type Creation,
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
