import { createHmac } from 'node:crypto';
import { decodeRequest } from '../src/wire/index.ts';
import { MESSAGE_LIMITS } from '../src/limits.ts';
import { holds, keyOf, sign } from '../src/wire/signature.ts';
import { BENCH_CLIENT, type Line, median, signedRequest } from './support.ts';

const MESSAGES = 20_000;
const ROUNDS = 15;

/** One message in and one signature out, against JSON.parse and two MACs alone. */
export function benchCodec(): Line[] {
  const key = keyOf(BENCH_CLIENT.keys.request);
  const messages = Array.from({ length: MESSAGES }, () => Buffer.from(signedRequest()));
  const ours = (bytes: Buffer) => {
    const { message, signedText } = decodeRequest(bytes, MESSAGE_LIMITS);
    if (!holds(signedText, message.signature, key)) throw new Error('a signature did not hold');
    return sign(signedText, key);
  };
  const baseline = (bytes: Buffer) => {
    const text = bytes.toString();
    JSON.parse(text);
    createHmac('sha256', key).update(text).digest('hex');
    return createHmac('sha256', key).update(text).digest('hex');
  };
  const rounds: { readonly ours: number; readonly baseline: number }[] = [];
  for (let i = 0; i < ROUNDS; i++)
    rounds.push({ ours: time(messages, ours), baseline: time(messages, baseline) });
  const ratio = median(rounds.slice(2).map((round) => round.baseline / round.ours));
  return [
    {
      what: 'decode, verify and sign one message',
      ours: `${median(rounds.map((round) => round.ours)).toFixed(2)} µs`,
      baseline: `${median(rounds.map((round) => round.baseline)).toFixed(2)} µs JSON.parse + 2 HMAC`,
      figure: ratio.toFixed(2),
      target: '',
      ok: true,
    },
  ];
}

/** A megabyte of `[`, the cheapest attack on a parser, against JSON.parse. */
export function benchBomb(): Line[] {
  const bomb = Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes, '[');
  const ours = median(
    Array.from({ length: 20 }, () =>
      time([bomb], (bytes) => refusal(() => decodeRequest(bytes, MESSAGE_LIMITS))),
    ),
  );
  const parse = median(
    Array.from({ length: 5 }, () => time([bomb], (bytes) => refusal(() => JSON.parse(bytes.toString())))),
  );
  return [
    {
      what: '1 MiB of "[" refused',
      ours: `${(ours / 1_000).toFixed(2)} ms`,
      baseline: `${(parse / 1_000).toFixed(1)} ms JSON.parse`,
      figure: (parse / ours).toFixed(0),
      target: '< 5 ms',
      ok: ours < 5_000,
    },
  ];
}

function refusal(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}

/** Microseconds for one message. */
function time(messages: readonly Buffer[], work: (bytes: Buffer) => unknown): number {
  const startMs = performance.now();
  for (const message of messages) work(message);
  return ((performance.now() - startMs) / messages.length) * 1_000;
}
