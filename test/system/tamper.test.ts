import { describe, expect, test } from 'vitest';
import { type Caller, createCaller } from '../support/caller.ts';
import { makeFolder, startServer } from './server-process.ts';

async function start() {
  const folder = makeFolder();
  const { credential } = await folder.addClient('agent-a');
  const { url } = await startServer(folder);
  return { folder, url, caller: createCaller(credential) };
}

function* flipsOf(bytes: Buffer): Generator<Buffer> {
  // Each bit of each byte alone, and all eight together.
  const masks = [1, 2, 4, 8, 16, 32, 64, 128, 255];
  for (let at = 0; at < bytes.length; at++) {
    for (const mask of masks) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(at) ^ mask, at);
      yield flipped;
    }
  }
}

/** The code of the refusal of each message, counted; sends 32 at a time. */
async function refusals(
  caller: Caller,
  url: string,
  messages: Iterator<Buffer>,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();

  async function sendRest(): Promise<void> {
    for (let next = messages.next(); next.done !== true; next = messages.next()) {
      const { code, signed, message } = await caller.send(url, next.value);
      const name = `${message.ok ? 'ok ' : ''}${signed ? 'signed ' : ''}${code}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }

  await Promise.all(Array.from({ length: 32 }, sendRest));
  return counts;
}

describe('a signed request that was changed on its way', () => {
  test('every byte of a signed request flipped in turn is refused, and nothing runs', async () => {
    const { folder, url, caller } = await start();
    const args = { text: 'Zoë "quoted" \n€ 𝄞', busy_ms: 0 };
    const bytes = caller.request('append_line', args, 'signed-once');
    const counts = await refusals(caller, url, flipsOf(bytes));

    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    expect(total).toBe(bytes.length * 9);
    expect([...counts.keys()].sort()).toEqual(['bad_envelope', 'bad_signature']);
    expect(folder.effects()).toEqual([]);

    // None of it used up the nonce: the message as it was signed still runs.
    const answer = await caller.send(url, bytes);
    expect(answer.message).toMatchObject({ ok: true, result: { text: args.text } });
    expect(folder.effects()).toEqual(['signed-once']);
  });

  test('every byte cut off its end, or put before or behind it, is refused', async () => {
    const { folder, url, caller } = await start();
    const bytes = caller.request('append_line', { text: 'whole' });
    const cut = Array.from({ length: bytes.length }, (_, end) => bytes.subarray(0, end));
    const counts = await refusals(caller, url, cut.values());
    expect([...counts]).toEqual([['bad_envelope', bytes.length]]);

    // White space around a message says nothing: JSON allows it, and it is not part of any value.
    const blank = new Set([0x20, 0x09, 0x0a, 0x0d]);
    const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !blank.has(byte));
    const extended = others.flatMap((byte) => [Buffer.from([byte, ...bytes]), Buffer.from([...bytes, byte])]);
    expect([...(await refusals(caller, url, extended.values()))]).toEqual([
      ['bad_envelope', extended.length],
    ]);
    expect(folder.effects()).toEqual([]);
  });

  test('a changed byte that leaves every value as it was is the same message: it runs once, then it is replayed', async () => {
    const { folder, url, caller } = await start();
    const bytes = caller.request('append_line', { text: '\u001f' });
    const respelled = Buffer.from(bytes.toString().replace('\\u001f', '\\u001F'));
    expect(respelled.equals(bytes)).toBe(false);
    expect((await caller.send(url, respelled)).message.ok).toBe(true);
    expect((await caller.send(url, bytes)).code).toBe('replayed');
    expect(folder.effects()).toHaveLength(1);
  });
});
