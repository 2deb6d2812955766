import type { ClientRecord, ClientRecords } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { Turn } from './turn.ts';

export function createClientRecords(db: Database, turn: Turn): ClientRecords {
  const insert = db.prepare(`
    INSERT INTO clients (id, request_keys, response_keys, created_ms)
    VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const selectAll = db.prepare('SELECT * FROM clients ORDER BY id');

  const dataVersion = db.prepare('PRAGMA data_version');
  let added = 0;

  return {
    add: (client) =>
      turn.write(() => {
        const { id, requestKeys, responseKeys, createdMs } = client;
        const keys = [JSON.stringify(requestKeys), JSON.stringify(responseKeys)] as const;
        const isNew = insert.run(id, ...keys, createdMs).changes === 1;
        if (isNew) added++;
        return isNew;
      }),
    list: () => turn.read(() => selectAll.all().map(toClient)),
    // Changes with every commit of another process; our own are counted beside it.
    version: async () => added + Number(dataVersion.get()?.['data_version']),
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
