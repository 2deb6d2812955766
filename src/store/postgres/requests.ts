import { POSTGRES_LIMITS } from '../../limits.ts';
import { parseJson } from '../../wire/index.ts';
import type { NewRequest, Outcome, RequestRecord, RequestRecords } from '../record-store.ts';
import { type Batcher, createBatcher } from './batch.ts';
import type { Database, Row } from './database.ts';

const FIND = {
  name: 'waybill-requests-find',
  text: `
    SELECT r.client_id, r.request_id, r.digest, r.id, r.outcome, r.deadline_ms
    FROM unnest($1::text[], $2::text[]) AS wanted(client_id, request_id)
    JOIN waybill.requests r USING (client_id, request_id)`,
};
const CLAIM = {
  name: 'waybill-requests-claim',
  text: `
    INSERT INTO waybill.requests (client_id, request_id, digest, deadline_ms, due_ms, open)
    SELECT client_id, request_id, digest, deadline_ms, due_ms, false
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
      AS new(client_id, request_id, digest, deadline_ms, due_ms)
    ON CONFLICT DO NOTHING RETURNING client_id, request_id`,
};
const FINISH = {
  name: 'waybill-requests-finish',
  text: `
    UPDATE waybill.requests r SET outcome = ended.outcome
    FROM unnest($1::text[], $2::text[], $3::text[]) AS ended(client_id, request_id, outcome)
    WHERE r.client_id = ended.client_id AND r.request_id = ended.request_id AND r.id IS NULL`,
};
const RELEASE = {
  name: 'waybill-requests-release',
  text: `
    DELETE FROM waybill.requests
    WHERE client_id = $1 AND request_id = $2 AND outcome IS NULL AND id IS NULL`,
};
const SWEEP = {
  name: 'waybill-requests-sweep',
  text: `
    DELETE FROM waybill.requests r USING (
      SELECT client_id, request_id FROM waybill.requests
      WHERE id IS NULL AND due_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) AS old
    WHERE r.client_id = old.client_id AND r.request_id = old.request_id RETURNING 1`,
};

interface Name {
  readonly clientId: string;
  readonly requestId: string;
}

/** A client id holds no line feed. */
const keyOf = ({ clientId, requestId }: Name): string => `${clientId}\n${requestId}`;
const keyOfRow = (row: Row): string => `${row['client_id']}\n${row['request_id']}`;
const namesOf = (items: readonly Name[]): unknown[] => [
  items.map(({ clientId }) => clientId),
  items.map(({ requestId }) => requestId),
];

export interface PostgresRequests extends RequestRecords {
  idle(): Promise<void>;
}

export function createRequestRecords(db: Database): PostgresRequests {
  const maxItems = POSTGRES_LIMITS.maxBatch;
  const finds = createFinds(db);
  const find = (clientId: string, requestId: string) => finds.run({ clientId, requestId });

  const claims = createBatcher<NewRequest, boolean>(
    async (items) => {
      const rows = await db.query(CLAIM, [
        ...namesOf(items),
        items.map(({ digest }) => digest),
        items.map(({ deadlineMs }) => deadlineMs),
        items.map(({ expiresMs }) => expiresMs),
      ]);
      const claimed = new Set(rows.map(keyOfRow));
      return items.map((item) => claimed.has(keyOf(item)));
    },
    { maxItems, keyOf },
  );

  const ends = createBatcher<Name & { readonly outcome: string }, void>(
    async (items) => {
      await db.query(FINISH, [...namesOf(items), items.map(({ outcome }) => outcome)]);
      return items.map(() => undefined);
    },
    { maxItems, keyOf, charsOf: ({ outcome }) => outcome.length },
  );

  async function claim(request: NewRequest): Promise<RequestRecord | null> {
    for (;;) {
      if (await claims.run(request)) return null;
      const known = await find(request.clientId, request.requestId);
      // Released in between, then it is there to be claimed.
      if (known !== null) return known;
    }
  }

  return {
    find,
    claim,
    finish: (clientId, requestId, outcome) =>
      ends.run({ clientId, requestId, outcome: JSON.stringify(outcome) }),
    async release(clientId, requestId) {
      await db.query(RELEASE, [clientId, requestId]);
    },
    sweep: async (nowMs, limit) => (await db.query(SWEEP, [nowMs, limit])).length,
    idle: () => Promise.all([finds.idle(), claims.idle(), ends.idle()]).then(() => {}),
  };
}

function createFinds(db: Database): Batcher<Name, RequestRecord | null> {
  return createBatcher(
    async (items) => {
      const rows = await db.query(FIND, namesOf(items));
      const found = new Map(rows.map((row) => [keyOfRow(row), toRequest(row)]));
      return items.map((item) => found.get(keyOf(item)) ?? null);
    },
    { maxItems: POSTGRES_LIMITS.maxBatch, keyOf },
  );
}

function toRequest(row: Row): RequestRecord {
  const { digest, id, outcome, deadline_ms: deadlineMs } = row;
  return {
    digest: String(digest),
    jobId: id === null ? null : String(id),
    // Written by `finish` above, from an Outcome.
    outcome: outcome === null ? null : (parseJson(String(outcome)) as Outcome),
    deadlineMs: Number(deadlineMs),
  };
}
