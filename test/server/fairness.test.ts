import { describe, expect, test } from 'vitest';
import { JOB_LIMITS, SERVER_LIMITS } from '../../src/limits.ts';
import type { ResponseMessage } from '../../src/wire/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, codeOf, jobIdOf, startServer, type TestServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';

/** Jobs that wait until they are cancelled, or the test lets all of them end. */
function heldTool(name: string, job: object = {}) {
  const stay = gate();
  const clients: string[] = [];
  const started = new Set<() => void>();
  let now = 0;
  let most = 0;
  const held = anyTool(
    name,
    async (_args, { clientId, signal }) => {
      clients.push(clientId);
      most = Math.max(most, ++now);
      for (const look of started) look();
      await Promise.race([stay.opened, aborted(signal)]);
      now--;
      signal.throwIfAborted();
      return {};
    },
    { job: { attempts: 1, ...job } },
  );
  return {
    tool: held,
    /** Whose jobs have begun, in that order. */
    clients,
    /** Most at once so far. */
    most: () => most,
    end: () => stay.open(),
    begun(count: number): Promise<void> {
      const { opened, open } = gate();
      const look = () => clients.length >= count && open();
      started.add(look);
      look();
      return opened;
    },
  };
}

async function start(peer: TestServer, tool: string): Promise<string> {
  const { result } = await peer.call(tool);
  return jobIdOf(result);
}

async function ended(peer: TestServer, job_id: string): Promise<ResponseMessage> {
  for (;;) {
    const reply = await peer.call('poll_job', { job_id, wait_ms: 5_000 });
    if (reply.status === 'done' || reply.status === 'error') return reply;
  }
}

const startMany = (peer: TestServer, tool: string, count: number) =>
  Promise.all(Array.from({ length: count }, () => start(peer, tool)));

describe('one client’s many jobs do not hold up another’s first', () => {
  test('a thousand are queued: the other’s runs after the few that share its priority, and all run', async () => {
    const { tool, clients, begun, end } = heldTool('work');
    const peer = await startServer({ tools: [tool], concurrency: 1 });
    const other = peer.as(await peer.addClient('agent-b'));
    const many = await startMany(peer, 'work', 1_000);
    await begun(1);
    peer.clock.nowMs++;
    const first = await start(other, 'work');
    end();
    expect((await ended(other, first)).status).toBe('done');
    expect(clients.indexOf('agent-b')).toBeLessThanOrEqual(JOB_LIMITS.priorityStep);
    await Promise.all(many.map((id) => ended(peer, id)));
    expect(clients.filter((clientId) => clientId === 'agent-a')).toHaveLength(1_000);
  });

  test('two that queue many get their turns alike', async () => {
    const { tool, clients, begun, end } = heldTool('work');
    const peer = await startServer({ tools: [tool], concurrency: 1 });
    const other = peer.as(await peer.addClient('agent-b'));
    const count = 4 * JOB_LIMITS.priorityStep;
    const many = await startMany(peer, 'work', count);
    await begun(1);
    peer.clock.nowMs++;
    const others = await startMany(other, 'work', count);
    end();
    await Promise.all([...many.map((id) => ended(peer, id)), ...others.map((id) => ended(other, id))]);
    // Wherever one stops: neither is ahead by more than one step, though one came with all before the other.
    let ahead = 0;
    for (const clientId of clients) {
      ahead += clientId === 'agent-a' ? 1 : -1;
      expect(Math.abs(ahead)).toBeLessThanOrEqual(JOB_LIMITS.priorityStep);
    }
    expect(ahead).toBe(0);
  });
});

describe('the cap on a client’s open jobs', () => {
  async function startFull() {
    const held = heldTool('work');
    const echo = anyTool('echo', (args) => args, { annotations: { readOnlyHint: true } });
    const peer = await startServer({ tools: [held.tool, echo], concurrency: 1, maxOpenJobs: 3 });
    const ids = await startMany(peer, 'work', 3);
    await held.begun(1);
    return { ...held, peer, ids };
  }

  const FULL = {
    ok: false,
    status: 'error',
    result: { retry_after_ms: SERVER_LIMITS.fullRetryMs },
    error: 'busy: you have 3 jobs that have not ended',
  };

  test('is answered with a signed busy that says when to come back, and no job is left behind', async () => {
    const { peer, end } = await startFull();
    const { httpStatus, body } = await peer.send(peer.request('work'));
    expect(httpStatus).toBe(503);
    expect(verifiedReply(body, peer.credential)).toMatchObject(FULL);
    const { result } = await peer.call('list_jobs');
    expect(result?.['jobs']).toHaveLength(3);
    end();
  });

  test('after a job has ended the same request succeeds, and is the same job from then on', async () => {
    const { peer, ids, end } = await startFull();
    const request_id = 'the-same';
    expect(await peer.call('work', {}, { request_id })).toMatchObject(FULL);
    expect(await peer.call('work', {}, { request_id })).toMatchObject(FULL);
    end();
    await Promise.all(ids.map((id) => ended(peer, id)));
    const accepted = await peer.call('work', {}, { request_id });
    expect(accepted.status).toBe('accepted');
    expect((await ended(peer, jobIdOf(accepted.result))).status).toBe('done');
    const again = await peer.call('work', {}, { request_id });
    expect(jobIdOf(again.result)).toBe(jobIdOf(accepted.result));
  });

  test('a cancelled job makes room, and so does one past its deadline', async () => {
    const { peer, ids, end } = await startFull();
    expect((await peer.call('cancel_job', { job_id: ids[2] ?? '' })).ok).toBe(true);
    await start(peer, 'work');
    expect(codeOf(await peer.call('work'))).toBe('busy');
    peer.clock.nowMs += 3_600_000;
    await ended(peer, ids[1] ?? '');
    await start(peer, 'work');
    end();
  });

  test('a request that is known gets its job though there is no room, and other args are a conflict', async () => {
    const { tool, begun, end } = heldTool('work');
    const peer = await startServer({ tools: [tool], maxOpenJobs: 1 });
    const request_id = 'the-first';
    const first = await peer.call('work', {}, { request_id });
    await begun(1);
    expect(codeOf(await peer.call('work'))).toBe('busy');
    expect(jobIdOf((await peer.call('work', {}, { request_id })).result)).toBe(jobIdOf(first.result));
    expect(codeOf(await peer.call('work', { n: 1 }, { request_id }))).toBe('request_id_conflict');
    end();
  });

  test('stops neither other clients nor calls that are no jobs', async () => {
    const { peer, ids, end } = await startFull();
    expect((await peer.call('echo', { n: 1 })).result).toEqual({ n: 1 });
    expect((await peer.call('poll_job', { job_id: ids[0] ?? '' })).ok).toBe(true);
    const other = peer.as(await peer.addClient('agent-b'));
    expect((await other.call('work')).status).toBe('accepted');
    end();
  });

  test('holds however many come at once', async () => {
    const { tool, end } = heldTool('work');
    const peer = await startServer({ tools: [tool], maxOpenJobs: 7 });
    const replies = await Promise.all(Array.from({ length: 100 }, () => peer.call('work')));
    expect(replies.filter(({ status }) => status === 'accepted')).toHaveLength(7);
    expect(replies.filter((reply) => codeOf(reply) === 'busy')).toHaveLength(93);
    end();
  });

  test('holds over a restart', async () => {
    const { peer } = await startFull();
    await peer.close();
    const { tool, end } = heldTool('work');
    const next = await startServer({
      tools: [tool],
      maxOpenJobs: 3,
      dir: peer.dir,
      credential: peer.credential,
    });
    expect(codeOf(await next.call('work'))).toBe('busy');
    end();
    await expect.poll(async () => (await next.call('work')).status).toBe('accepted');
  });
});

describe('a tool that says how many of its jobs run at once', () => {
  test('has never more of them running, others run meanwhile, and all of them in the end', async () => {
    const narrow = heldTool('narrow', { concurrency: 2 });
    const wide = heldTool('wide');
    const peer = await startServer({ tools: [narrow.tool, wide.tool], concurrency: 8 });
    const waiting = await startMany(peer, 'narrow', 20);
    await narrow.begun(2);
    const others = await startMany(peer, 'wide', 20);
    // As many as there are slots beside the two.
    await wide.begun(6);
    wide.end();
    await Promise.all(others.map((id) => ended(peer, id)));
    expect(narrow.clients).toHaveLength(2);
    narrow.end();
    for (const id of waiting) expect((await ended(peer, id)).status).toBe('done');
    expect(narrow.most()).toBe(2);
    expect(wide.most()).toBe(6);
  });

  test('has room again when one of them is cancelled', async () => {
    const narrow = heldTool('narrow', { concurrency: 1 });
    const peer = await startServer({ tools: [narrow.tool] });
    const [first = '', second = ''] = await startMany(peer, 'narrow', 2);
    await narrow.begun(1);
    await peer.call('cancel_job', { job_id: first });
    await narrow.begun(2);
    narrow.end();
    expect((await ended(peer, second)).status).toBe('done');
    expect(narrow.most()).toBe(1);
  });
});
