import type { NewRequest, Outcome, RequestRecord, RequestRecords } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { Turn } from './turn.ts';

/** Verbs on the `requests` table that do not commit by themselves. */
export interface RequestStatements {
  /** `null`: claimed; otherwise the record that was there first. */
  claim(request: NewRequest, jobId: string | null): RequestRecord | null;
  find(clientId: string, requestId: string): RequestRecord | null;
}

export function prepareRequests(db: Database): RequestStatements {
  const insert = db.prepare(`
    INSERT INTO requests (client_id, request_id, digest, job_id, outcome, deadline_ms, expires_ms)
    VALUES (?, ?, ?, ?, NULL, ?, ?) ON CONFLICT DO NOTHING`);
  const select = db.prepare('SELECT * FROM requests WHERE client_id = ? AND request_id = ?');

  function find(clientId: string, requestId: string): RequestRecord | null {
    const row = select.get(clientId, requestId);
    return row === undefined ? null : toRequest(row);
  }

  function claim(request: NewRequest, jobId: string | null): RequestRecord | null {
    const { clientId, requestId, digest, deadlineMs, expiresMs } = request;
    const { changes } = insert.run(clientId, requestId, digest, jobId, deadlineMs, expiresMs);
    return changes === 1 ? null : find(clientId, requestId);
  }

  return { claim, find };
}

export function createRequestRecords(db: Database, turn: Turn, statements: RequestStatements): RequestRecords {
  const setOutcome = db.prepare('UPDATE requests SET outcome = ? WHERE client_id = ? AND request_id = ?');
  const remove = db.prepare('DELETE FROM requests WHERE client_id = ? AND request_id = ? AND outcome IS NULL');
  const removeExpired = db.prepare(`
    DELETE FROM requests WHERE (client_id, request_id) IN
      (SELECT client_id, request_id FROM requests WHERE expires_ms <= ? LIMIT ?)`);

  return {
    find: (clientId, requestId) => turn.read(() => statements.find(clientId, requestId)),
    claim: (request) => turn.write(() => statements.claim(request, null)),
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

function toRequest(row: Row): RequestRecord {
  return {
    digest: String(row['digest']),
    jobId: row['job_id'] === null ? null : String(row['job_id']),
    // Written by `finish` above, from an Outcome.
    outcome: row['outcome'] === null ? null : (JSON.parse(String(row['outcome'])) as Outcome),
    deadlineMs: Number(row['deadline_ms']),
  };
}
