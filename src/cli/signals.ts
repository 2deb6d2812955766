import { Failure } from './exits.ts';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export type EndSignal = keyof typeof EXIT_CODES;

/** npm passes on a Ctrl-C that the terminal has sent already; nobody presses it twice as fast as this. */
const SAME_SIGNAL_MS = 200;

/**
 * Calls back at the first of these signals; a second one ends the process at once.
 *
 * @returns how to stop listening
 */
export function onFirstSignal(
  names: readonly EndSignal[],
  callback: (signal: EndSignal) => void,
): () => void {
  let firstMs = Number.NaN;
  const listener = (signal: EndSignal) => {
    if (Number.isNaN(firstMs)) {
      firstMs = performance.now();
      callback(signal);
    } else if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(EXIT_CODES[signal]);
  };
  for (const name of names) process.on(name, listener);
  return () => {
    for (const name of names) process.off(name, listener);
  };
}

/**
 * Runs until it is done or somebody presses Ctrl-C; a second Ctrl-C ends the process without a word.
 *
 * @param names the signals that end it in this way
 */
export async function interruptible<T>(
  why: () => string,
  run: (signal: AbortSignal) => Promise<T>,
  names: readonly EndSignal[] = ['SIGINT'],
): Promise<T> {
  const controller = new AbortController();
  const stop = onFirstSignal(names, () => {
    controller.abort(new Failure('interrupted', 'interrupted', why()));
  });
  try {
    return await run(controller.signal);
  } finally {
    stop();
  }
}
