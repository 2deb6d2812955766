import { PassThrough, Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MESSAGE_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import { serveStdio } from '../../src/transports/index.ts';
import type { ResponseMessage } from '../../src/wire/index.ts';
import { gate } from '../support/gate.ts';
import { codeOf, readTool, startServer, type TestServer, type TestServerOptions } from '../support/server.ts';
import { unsignedReply, verifiedReply } from '../support/signing.ts';

const echo = readTool('echo', (args) => args);

/** A peer on two pipes. */
async function open(options: TestServerOptions = {}, output = new PassThrough()) {
  const peer = await startServer({ tools: [echo], ...options });
  const input = new PassThrough();
  const served = serveStdio(peer.server, { input, output });
  return { peer, input, output, served };
}

/** Sends all of it and ends the input; the lines of the replies. */
async function exchange(peer: TestServer, pieces: Iterable<string | Uint8Array>): Promise<string[]> {
  const input = new PassThrough();
  const output = new PassThrough();
  const served = serveStdio(peer.server, { input, output });
  for (const piece of pieces) input.write(piece);
  input.end();
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await served;
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text.split('\n').slice(0, -1);
}

const line = (peer: TestServer, n: number): string => `${peer.request('echo', { n }).toString()}\n`;

describe('§9 stdio: one message a line', () => {
  test('each line is answered with a line', async () => {
    const peer = await startServer({ tools: [echo] });
    const replies = await exchange(peer, [line(peer, 1), line(peer, 2)]);
    const results = replies.map((text) => verifiedReply(text, peer.credential).result?.['n']);
    expect(results.map(Number).toSorted((a, b) => a - b)).toEqual([1, 2]);
  });

  test('lines may come in any pieces', async () => {
    const peer = await startServer({ tools: [echo] });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 12 }), async (cuts) => {
        const bytes = Buffer.from([1, 2, 3, 4].map((n) => line(peer, n)).join(''));
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) pieces.push(bytes.subarray(at, (at += cut)));
        pieces.push(bytes.subarray(at));
        const replies = await exchange(peer, pieces);
        const results = replies.map((text) => verifiedReply(text, peer.credential).result?.['n']);
        expect(results.map(Number).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
      }),
      { numRuns: 50 },
    );
  });

  test('empty lines are skipped, and a carriage return before the end of a line is white space', async () => {
    const peer = await startServer({ tools: [echo] });
    const replies = await exchange(peer, ['\n\n', line(peer, 1).replace('\n', '\r\n'), '\n']);
    expect(replies.map((text) => verifiedReply(text, peer.credential).result)).toEqual([{ n: 1 }]);
  });

  test('a line that is no message is refused, and the next one is answered', async () => {
    const peer = await startServer({ tools: [echo] });
    const [first = '', second = ''] = await exchange(peer, ['hello\n', line(peer, 1)]);
    expect(codeOf(unsignedReply(first))).toBe('bad_envelope');
    expect(verifiedReply(second, peer.credential).ok).toBe(true);
  });

  test('a line that is too long is refused without being kept, and the next one is answered', async () => {
    const peer = await startServer({ tools: [echo] });
    const piece = Buffer.alloc(100_000, 'x');
    const long = Array.from({ length: 30 }, () => piece);
    const replies = await exchange(peer, [...long, '\n', line(peer, 1)]);
    expect(replies).toHaveLength(2);
    expect(codeOf(unsignedReply(replies[0] ?? ''))).toBe('too_large');
    expect(verifiedReply(replies[1] ?? '', peer.credential).result).toEqual({ n: 1 });
  });

  test('a line of just the limit is read', async () => {
    const peer = await startServer({ tools: [echo] });
    const [reply = ''] = await exchange(peer, [Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes, '['), '\n']);
    expect(codeOf(unsignedReply(reply))).toBe('bad_envelope');
  });

  test('a line that the end of the input cuts off is answered all the same', async () => {
    const peer = await startServer({ tools: [echo] });
    const whole = line(peer, 1).trimEnd();
    expect(await exchange(peer, [whole])).toHaveLength(1);
    const [half = ''] = await exchange(peer, [line(peer, 2).slice(0, 100)]);
    expect(codeOf(unsignedReply(half))).toBe('bad_envelope');
    expect(await exchange(peer, [])).toEqual([]);
  });

  test('a quick call does not wait for a slow one', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({ slow: true })));
    const { peer, input, output, served } = await open({ tools: [echo, slow] });
    input.write(`${peer.request('slow').toString()}\n`);
    input.write(line(peer, 1));
    const results: unknown[] = [];
    output.setEncoding('utf8').on('data', (text: string) => {
      for (const reply of text.trimEnd().split('\n'))
        results.push(verifiedReply(reply, peer.credential).result);
    });
    await expect.poll(() => results).toEqual([{ n: 1 }]);
    stay.open();
    input.end();
    await served;
    expect(results).toEqual([{ n: 1 }, { slow: true }]);
  });
});

describe('stdio under load', () => {
  test('1 000 lines at once are all answered', async () => {
    const peer = await startServer({ tools: [echo] });
    const lines = Array.from({ length: 1_000 }, (_, n) => line(peer, n));
    const replies = await exchange(peer, [lines.join('')]);
    const results = replies.map((text) => Number(verifiedReply(text, peer.credential).result?.['n']));
    expect(results.toSorted((a, b) => a - b)).toEqual(lines.map((_line, n) => n));
  });

  test(`no more than ${STDIO_LIMITS.maxCallsInFlight} calls of one peer run at once`, async () => {
    const stay = gate();
    let started = 0;
    const slow = readTool('slow', () => {
      started++;
      return stay.opened.then(() => ({}));
    });
    const { peer, input, output, served } = await open({ tools: [slow] });
    for (let n = 0; n < 400; n++) input.write(`${peer.request('slow', { n }).toString()}\n`);
    input.end();
    await expect.poll(() => started).toBe(STDIO_LIMITS.maxCallsInFlight);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(started).toBe(STDIO_LIMITS.maxCallsInFlight);
    stay.open();
    output.resume();
    await served;
    expect(started).toBe(400);
  });

  test('a peer that does not read its replies is not read from either; when it reads, all of them are there', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    onTestFinished(() => void process.off('warning', note));
    let runs = 0;
    const chatty = readTool('chatty', () => ({ run: ++runs, text: 'x'.repeat(1_000) }));
    const { peer, input, output, served } = await open(
      { tools: [chatty] },
      new PassThrough({ highWaterMark: 2_000 }),
    );
    for (let n = 0; n < 2_000; n++) input.write(`${peer.request('chatty', { n }).toString()}\n`);
    input.end();
    await expect.poll(() => runs).toBeGreaterThanOrEqual(STDIO_LIMITS.maxCallsInFlight);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(runs).toBeLessThan(STDIO_LIMITS.maxCallsInFlight + 10);

    const replies: ResponseMessage[] = [];
    let rest = '';
    output.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const reply of lines) replies.push(verifiedReply(reply, peer.credential));
    });
    await served;
    await expect.poll(() => replies.length).toBe(2_000);
    expect(warnings).toEqual([]);
  });

  test('a peer that is gone ends it: nothing hangs and nothing is thrown', async () => {
    const broken = new Writable({
      write(_chunk, _encoding, done) {
        done(new Error('EPIPE: broken pipe'));
      },
    });
    const peer = await startServer({ tools: [echo] });
    const input = new PassThrough();
    const served = serveStdio(peer.server, { input, output: broken });
    for (let n = 0; n < 20; n++) input.write(line(peer, n));
    await new Promise((resolve) => broken.once('close', resolve));
    const { nonces } = peer.server.stats();
    input.write(line(peer, 99));
    await served;
    expect(peer.server.stats().nonces).toBe(nonces);
  });

  test('a peer that goes while replies wait for it: they are dropped, and the end of the input ends it', async () => {
    const stuck = new Writable({ highWaterMark: 1, write() {} });
    const peer = await startServer({ tools: [echo] });
    const input = new PassThrough();
    const served = serveStdio(peer.server, { input, output: stuck });
    for (let n = 0; n < 20; n++) input.write(line(peer, n));
    await expect.poll(() => peer.server.stats().nonces).toBe(20);
    stuck.destroy();
    input.end();
    await served;
  });
});
