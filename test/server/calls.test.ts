import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ProtocolError } from '../../src/errors/index.ts';
import type { KnownClient } from '../../src/server/calls.ts';
import { defineTool } from '../../src/tools/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, jobIdOf, jobTool, readTool, startServer, type TestServer } from '../support/server.ts';

function clientOf({ server }: TestServer, id = 'agent-a'): KnownClient {
  const client = server.calls.clientNamed(id);
  if (client === null) throw new Error(`${id} is not there`);
  return client;
}

const call = (tool: string, more: object = {}) => ({ requestId: 'call-1', tool, args: {}, ...more });

describe('a call from another wire', () => {
  test('is made by nobody who is not known', async () => {
    const { server } = await startServer();
    expect(server.calls.clientNamed('stranger')).toBeNull();
    expect(server.calls.clientOf('')).toBeNull();
    expect(server.calls.clientOf('wb_no_token')).toBeNull();
  });

  test('does not make a tool heed a caller who has gone already', async () => {
    const reason = gate<unknown>();
    const deaf = readTool('deaf', async (_args, { signal }) => {
      reason.open(await aborted(signal));
      return {};
    });
    const peer = await startServer({ tools: [deaf] });
    const calling = peer.server.calls.call(clientOf(peer), call('deaf'), { signal: AbortSignal.abort() });
    await expect(calling).rejects.toMatchObject({ code: 'cancelled' });
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
  });

  test('is given nothing that a message cannot carry', async () => {
    const peer = await startServer({ tools: [anyTool('odd', () => ({ n: Number.NaN }))] });
    await expect(peer.server.calls.call(clientOf(peer), call('odd'))).rejects.toMatchObject({
      code: 'internal',
    });
    expect(peer.log.complaints).toHaveLength(1);
  });

  test('brings answers that fit what the tool asks, or is refused', async () => {
    const asking = defineTool({
      name: 'asking',
      description: 'For tests.',
      input: z.object({}),
      output: z.looseObject({}),
      asks: {
        sure: { message: 'Sure?', schema: { type: 'object', properties: { yes: { type: 'boolean' } } } },
      },
      run: (_args, { answers }) => ({ answers }),
    });
    const peer = await startServer({ tools: [asking] });
    const send = (answers: object) => peer.server.calls.call(clientOf(peer), call('asking', { answers }));
    const sure = { action: 'accept', content: { yes: true } };
    expect((await send({ sure })).result).toEqual({ answers: { sure } });
    await expect(send({})).rejects.toMatchObject({ code: 'invalid_args' });
    await expect(send({ sure: { action: 'accept', content: { yes: 1 } } })).rejects.toMatchObject({
      code: 'invalid_args',
      result: { issues: [{ path: 'sure.content.yes' }] },
    });
  });

  test('turns whatever a policy throws into a known error', async () => {
    const policy = () => {
      throw new Error('secret-42');
    };
    const peer = await startServer({ tools: [], policy });
    const refused = peer.server.calls.call(clientOf(peer), call('any'));
    await expect(refused).rejects.toBeInstanceOf(ProtocolError);
    await expect(refused).rejects.not.toThrow('secret-42');
  });

  test('is one of the calls under way, and only as long as it is', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const peer = await startServer({ tools: [slow] });
    const calling = peer.server.calls.call(clientOf(peer), call('slow'));
    expect(peer.server.stats().callsInFlight).toBe(1);
    stay.open();
    await calling;
    expect(peer.server.stats().callsInFlight).toBe(0);
  });
});

describe('waiting for a job', () => {
  test('does not wait past a change that came after what was seen', async () => {
    const stay = gate();
    const held = jobTool('held', () => stay.opened.then(() => ({})));
    const peer = await startServer({ tools: [held] });
    const client = clientOf(peer);
    const { calls } = peer.server;
    const { result } = await calls.call(client, call('held'));
    const id = jobIdOf(result);
    const { signal } = new AbortController();
    await expect.poll(async () => (await calls.job(client, id)).state).toBe('running');
    const { revision } = await calls.job(client, id);
    // Longer than the test may take: it does not wait.
    const seen = await calls.job(client, id, { ms: 3_600_000, signal, after: revision - 1 });
    expect(seen.revision).toBe(revision);
    const next = calls.job(client, id, { ms: 3_600_000, signal, after: revision });
    stay.open();
    expect((await next).state).toBe('succeeded');
  });
});
