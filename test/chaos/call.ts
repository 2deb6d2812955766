import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import type { Asked, Client } from './client.ts';
import { tell } from './job.ts';
import type { Journal, Story } from './journal.ts';
import type { Replica } from './member.ts';

/** A direct call that must not run twice, and what its client was told. */
export interface Call extends Story {
  readonly client: Client;
  readonly args: { readonly text: string; readonly ms: number };
  readonly lines: string[];
  /** Of the signed `ok`, as JSON. `null`: it was cut short, and nobody can say whether it took effect. */
  outcome: string | null;
}

/** Somebody else may be at it, on a server that is slow: after this it was cut short. */
const IN_PROGRESS_MS = 5_000;
const PAUSE_MS = [50, 200] as const;
const MAX_CALL_MS = 40;

/** Sometimes twice at once, on any two replicas. */
export async function callOnce(
  client: Client,
  requestId: string,
  random: Random,
  journal: Journal,
): Promise<Call> {
  const args = { text: `${requestId} ${random.integer(0, 1e9)}`, ms: random.integer(0, MAX_CALL_MS) };
  const call: Call = { client, requestId, args, jobId: null, lines: [], outcome: null };
  const copies = random.chance(0.3) ? 2 : 1;
  await Promise.all(Array.from({ length: copies }, () => askUntilAnswered(call, random, journal)));
  journal.count(call.outcome === null ? 'calls cut short' : 'calls acknowledged');
  return call;
}

async function askUntilAnswered(call: Call, random: Random, journal: Journal): Promise<void> {
  const { client, args, requestId } = call;
  const endMs = journal.now() + IN_PROGRESS_MS;
  do {
    const asked = await client.ask({ tool: 'once', args, requestId, random });
    observeCall(call, asked, journal);
    if (asked.answer.code !== 'in_progress') return;
    journal.count('in progress');
    await sleep(random.integer(...PAUSE_MS));
  } while (journal.now() < endMs);
}

/** What a retry, after everything is back, is told by a replica: the recorded outcome. */
export async function retryOn(replica: Replica, call: Call, random: Random, journal: Journal): Promise<void> {
  const { client, args, requestId, outcome } = call;
  const asked = await client.ask({ tool: 'once', args, requestId, random, replica });
  observeCall(call, asked, journal);
  if (outcome !== null && asked.answer.code === 'in_progress')
    journal.violate(`in progress after its outcome (${replica.name})`, call);
}

/** Judges a reply to the call. */
function observeCall(call: Call, { answer, replica }: Asked, journal: Journal): void {
  const { ok, status, result, error } = answer.message;
  const told = ok ? JSON.stringify({ status, result, error }) : null;
  tell(call.lines, journal, replica.name, `${told ?? error}`);
  const wrong = (what: string) => journal.violate(`${what} (${replica.name})`, call);
  if (told === null) {
    const isCutShort = answer.code === 'in_progress' || /^internal: .*interrupted/.test(error ?? '');
    if (!isCutShort) wrong(`a call was refused: ${error}`);
    else if (call.outcome !== null && answer.code !== 'in_progress') wrong(`its outcome is lost: ${error}`);
  } else if (call.outcome === null) {
    call.outcome = told;
    if (result?.['text'] !== call.args.text) wrong(`not its own outcome: ${told}`);
  } else if (call.outcome !== told) {
    wrong(`two outcomes: ${call.outcome} and ${told}`);
  }
}
