import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type Caller, jobIdOf, nullIfNoReply } from '../support/caller.ts';
import { createRandom, type Random } from '../support/random.ts';

/** What a signed `accepted` has promised, and what the job must end with. */
export interface AcknowledgedJob {
  readonly caller: Caller;
  readonly jobId: string;
  readonly result: object;
}

/** A direct call that is not repeatable, whose signed outcome has arrived. */
export interface AcknowledgedCall {
  readonly caller: Caller;
  readonly args: { readonly text: string; readonly busy_ms: number };
  readonly result: unknown;
}

/** A transmission that has got a signed reply: sent again, it must not get anything. */
export interface Captured {
  readonly caller: Caller;
  readonly bytes: Buffer;
}

/** Several clients at work on a server that may go away at any moment. The keys are request_ids. */
export interface Load {
  readonly jobs: ReadonlyMap<string, AcknowledgedJob>;
  readonly calls: ReadonlyMap<string, AcknowledgedCall>;
  /** Calls that may have been cut short: run or not, they are not run again. */
  readonly interrupted: ReadonlySet<string>;
  readonly captured: readonly Captured[];
  /** Where the clients send to from now on. */
  url: string;
  /** Resolves when every client has the answer to its last call. @throws what one of them found wrong */
  stop(): Promise<void>;
}

interface Options {
  readonly callers: readonly Caller[];
  readonly url: string;
  readonly seed: number;
}

/** Calls of one client that are under way at once. */
const HANDS = 8;

export function startLoad({ callers, url, seed }: Options): Load {
  const jobs = new Map<string, AcknowledgedJob>();
  const calls = new Map<string, AcknowledgedCall>();
  const interrupted = new Set<string>();
  const captured: Captured[] = [];
  let stopped = false;

  /** An honest client: the same request_id, each time with a new nonce, until there is an answer. */
  async function ask(caller: Caller, tool: string, args: Args, requestId: string): Promise<Answer> {
    for (;;) {
      const bytes = caller.request(tool, args, requestId);
      const answer = await caller.send(load.url, bytes).catch(nullIfNoReply);
      if (answer !== null && !answer.signed) throw new Error(`refused unsigned: ${answer.message.error}`);
      if (answer === null || answer.code === 'busy') {
        await sleep(10);
        continue;
      }
      if (answer.message.request_id !== requestId) throw new Error(`a reply to ${answer.message.request_id}`);
      captured.push({ caller, bytes });
      return answer;
    }
  }

  async function startJob(caller: Caller, requestId: string, { integer, chance }: Random): Promise<void> {
    const isLong = chance(0.05);
    const steps = isLong ? integer(10, 30) : integer(0, 2);
    const args = { text: `job ${requestId}`, steps, step_ms: isLong ? integer(5, 20) : integer(0, 5) };
    const { message } = await ask(caller, 'work', args, requestId);
    const jobId = jobIdOf(message);
    if (message.status !== 'accepted') throw new Error(`a new job is ${message.status}`);
    jobs.set(requestId, { caller, jobId, result: { text: args.text, steps } });
    if (!chance(0.2)) return;
    const again = await ask(caller, 'work', args, requestId);
    if (jobIdOf(again.message) !== jobId) throw new Error(`a retry got another job than ${jobId}`);
  }

  async function callOnce(caller: Caller, requestId: string, { integer, chance }: Random): Promise<void> {
    const args = { text: `call ${requestId}`, busy_ms: chance(0.3) ? integer(1, 30) : 0 };
    const { message, code } = await ask(caller, 'append_line', args, requestId);
    if (message.ok) calls.set(requestId, { caller, args, result: message.result });
    else if (code === 'in_progress' || (message.error ?? '').includes('was interrupted'))
      interrupted.add(requestId);
    else throw new Error(`a call was refused: ${message.error}`);
  }

  async function work(caller: Caller, hand: number, random: Random): Promise<void> {
    for (let count = 1; !stopped; count++) {
      const requestId = `${caller.credential.client_id}-${hand}-${count}`;
      await (random.chance(0.5) ? startJob : callOnce)(caller, requestId, random);
    }
  }

  const load: Load = {
    jobs,
    calls,
    interrupted,
    captured,
    url,
    async stop() {
      stopped = true;
      await all;
    },
  };
  const hands = Array.from({ length: callers.length * HANDS }, (_, hand) => ({
    hand,
    random: createRandom(seed + hand),
  }));
  const all = Promise.all(
    callers.flatMap((caller, index) =>
      hands.slice(index * HANDS, (index + 1) * HANDS).map(({ hand, random }) => work(caller, hand, random)),
    ),
  );
  // Whoever stops the load sees what went wrong; until then it must not bring the process down.
  all.catch(() => {});
  return load;
}

type Args = Readonly<Record<string, string | number>>;
