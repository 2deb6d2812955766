import type { ClientRecord, ClientRecords } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { Turn } from './turn.ts';

export function createClientRecords(db: Database, turn: Turn): ClientRecords {
  const insert = db.prepare(`
    INSERT INTO clients (id, request_keys, response_keys, created_ms)
    VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const select = db.prepare('SELECT * FROM clients WHERE id = ?');
  const selectAll = db.prepare('SELECT * FROM clients ORDER BY id');

  return {
    add: (client) =>
      turn.write(() => {
        const { id, requestKeys, responseKeys, createdMs } = client;
        return insert.run(id, JSON.stringify(requestKeys), JSON.stringify(responseKeys), createdMs).changes === 1;
      }),
    get: (id) =>
      turn.read(() => {
        const row = select.get(id);
        return row === undefined ? null : toClient(row);
      }),
    list: () => turn.read(() => selectAll.all().map(toClient)),
  };
}

function toClient(row: Row): ClientRecord {
  return {
    id: String(row['id']),
    // Both were written by `add` above, from arrays of strings.
    requestKeys: JSON.parse(String(row['request_keys'])) as string[],
    responseKeys: JSON.parse(String(row['response_keys'])) as string[],
    createdMs: Number(row['created_ms']),
  };
}
