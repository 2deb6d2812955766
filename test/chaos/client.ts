import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonObject } from '../../src/wire/index.ts';
import { type Answer, type Caller, createCaller, NoReply } from '../support/caller.ts';
import type { Random } from '../support/random.ts';
import type { Credential } from '../../src/transports/index.ts';
import type { Cluster } from './cluster.ts';
import type { Replica } from './member.ts';
import type { Journal } from './journal.ts';
import type { Captured } from './replays.ts';

/** An honest client: it asks again, with a new nonce, until it has an answer. */
export interface Client {
  readonly id: string;
  readonly caller: Caller;
  /** @throws GaveUp when the run is over */
  ask(request: Ask): Promise<Asked>;
  /** One transmission. `null`: there was no reply, or one that proves nothing, which is counted. */
  send(replica: Replica, bytes: Buffer, waitMs?: number): Promise<Answer | null>;
}

export interface Ask {
  readonly tool: string;
  readonly args: JsonObject;
  readonly requestId?: string;
  readonly random: Random;
  /** Ask only this one; else any, and another one after each failure. */
  readonly replica?: Replica;
  /** How long the reply may be held. */
  readonly waitMs?: number;
}

export interface Asked {
  readonly answer: Answer;
  readonly replica: Replica;
  /** When the transmission was sent that got the answer. */
  readonly sentMs: number;
}

/** The run ended before there was an answer. */
export class GaveUp extends Error {}

export interface ClientContext {
  readonly cluster: Cluster;
  readonly journal: Journal;
  /** Requests that got an answer, to be sent again. */
  readonly captured: Captured[];
  /** Aborts when nobody waits for answers any more. */
  readonly over: AbortSignal;
}

/** Then it asks elsewhere. Below the time after which a server gives its database up: both happen. */
const REPLY_MS = 4_000;
/** Pause after a transmission without answer. */
const PAUSE_MS = [20, 150] as const;
/** The newest requests are kept; the oldest of them would soon be out of the time window. */
const MAX_CAPTURED = 5_000;

export function createClient(credential: Credential, context: ClientContext): Client {
  const { cluster, journal, captured, over } = context;
  const caller = createCaller(credential);
  const id = credential.client_id;

  async function send(replica: Replica, bytes: Buffer, waitMs = 0): Promise<Answer | null> {
    journal.count('transmissions');
    try {
      const answer = await caller.send(replica.url, bytes, REPLY_MS + waitMs);
      if (answer.signed) return answer;
      journal.violate(`${replica.name} refused ${id} unsigned: ${answer.message.error}`);
    } catch (error) {
      if (error instanceof NoReply) journal.count('no reply');
      else journal.violate(`${replica.name} gave ${id} a reply that proves nothing: ${String(error)}`);
    }
    return null;
  }

  async function ask({ tool, args, requestId, random, replica: only, waitMs }: Ask): Promise<Asked> {
    let tries = 0;
    while (!over.aborted) {
      const replica = only ?? random.pick(cluster.replicas.filter(({ isServing }) => isServing));
      if (replica?.isServing === true) {
        const sentMs = journal.now();
        if (++tries > 1) journal.count('retries');
        const bytes = caller.request(tool, args, requestId);
        const answer = await send(replica, bytes, waitMs);
        if (answer !== null && answer.code !== 'busy') {
          checkEcho(answer, bytes);
          captured.push({ client, bytes, replica, sentMs: Date.now() });
          if (captured.length > MAX_CAPTURED) captured.splice(0, MAX_CAPTURED / 10);
          return { answer, replica, sentMs };
        }
        if (answer !== null) journal.count('busy');
      }
      await sleep(random.integer(...PAUSE_MS));
    }
    throw new GaveUp(`no answer to ${tool} ${requestId ?? ''}`);
  }

  function checkEcho({ message }: Answer, bytes: Buffer): void {
    const { request_id } = JSON.parse(String(bytes));
    if (message.request_id !== request_id)
      journal.violate(`asked ${request_id}, got an answer to ${message.request_id}`);
  }

  const client: Client = { id, caller, ask, send };
  return client;
}
