import { parseJson } from '../../wire/index.ts';
import type { NewRequest, Outcome, RequestRecord, RequestRecords } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import { type JobRows, toRequest } from './job-rows.ts';
import type { Turn } from './turn.ts';

/** Verbs that do not commit by themselves. Requests that became jobs are rows of the `jobs` table. */
export interface RequestStatements {
  /** `null`: claimed; otherwise the record that was there first. */
  claim(request: NewRequest): RequestRecord | null;
  /** Direct calls only. */
  find(clientId: string, requestId: string): RequestRecord | null;
  findJob(clientId: string, requestId: string): RequestRecord | null;
}

export function prepareRequests(db: Database, rows: JobRows): RequestStatements {
  const insert = db.prepare(`
    INSERT INTO requests (client_id, request_id, digest, deadline_ms, expires_ms)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const select = db.prepare('SELECT * FROM requests WHERE client_id = ? AND request_id = ?');

  function find(clientId: string, requestId: string): RequestRecord | null {
    const row = select.get(clientId, requestId);
    return row === undefined ? null : toDirectRequest(row);
  }

  function findJob(clientId: string, requestId: string): RequestRecord | null {
    const row = rows.findByRequest(clientId, requestId);
    return row === null ? null : toRequest(row);
  }

  function claim(request: NewRequest): RequestRecord | null {
    const { clientId, requestId, digest, deadlineMs, expiresMs } = request;
    const job = findJob(clientId, requestId);
    if (job !== null) return job;
    const { changes } = insert.run(clientId, requestId, digest, deadlineMs, expiresMs);
    return changes === 1 ? null : find(clientId, requestId);
  }

  return { claim, find, findJob };
}

export function createRequestRecords(
  db: Database,
  turn: Turn,
  statements: RequestStatements,
): RequestRecords {
  const setOutcome = db.prepare('UPDATE requests SET outcome = ? WHERE client_id = ? AND request_id = ?');
  const remove = db.prepare(
    'DELETE FROM requests WHERE client_id = ? AND request_id = ? AND outcome IS NULL',
  );
  const removeExpired = db.prepare(`
    DELETE FROM requests WHERE (client_id, request_id) IN
      (SELECT client_id, request_id FROM requests WHERE expires_ms <= ? LIMIT ?)`);

  // The folder's lock is ours: whoever ran these calls is dead, and how they ended will never be known.
  db.exec('UPDATE requests SET deadline_ms = 0 WHERE outcome IS NULL');

  return {
    find: (clientId, requestId) =>
      turn.read(() => statements.find(clientId, requestId) ?? statements.findJob(clientId, requestId)),
    claim: (request) => turn.write(() => statements.claim(request)),
    finish: (clientId, requestId, outcome) =>
      turn.write(() => {
        setOutcome.run(JSON.stringify(outcome), clientId, requestId);
      }),
    release: (clientId, requestId) =>
      turn.write(() => {
        remove.run(clientId, requestId);
      }),
    sweep: (nowMs, limit) => turn.write(() => Number(removeExpired.run(nowMs, limit).changes)),
  };
}

function toDirectRequest(row: Row): RequestRecord {
  return {
    digest: String(row['digest']),
    jobId: null,
    // Written by `finish` above, from an Outcome.
    outcome: row['outcome'] === null ? null : (parseJson(String(row['outcome'])) as Outcome),
    deadlineMs: Number(row['deadline_ms']),
  };
}
