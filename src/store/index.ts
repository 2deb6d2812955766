export { newJobId } from './job-id.ts';
export {
  type Attempt,
  type ClientRecord,
  type DueJob,
  type EndState,
  type Fence,
  isTerminal,
  type JobEnd,
  type JobRecord,
  type JobState,
  type NewJob,
  type NewRequest,
  type Outcome,
  type RecordStore,
  type RequestRecord,
} from './record-store.ts';
export {
  type ClientStore,
  openClientStore,
  openSqliteStore,
  type SqliteOptions,
  type SqliteStore,
} from './sqlite/open.ts';
