import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Line, withFolder } from './support.ts';

interface Measured {
  readonly rss: number;
  readonly guard: { readonly nonces: number; readonly nonceBytes: number };
}

/** Bytes a nonce, and what a million calls leave behind beside them. */
export async function benchMemory(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const child = fork(fileURLToPath(new URL('./memory-process.js', import.meta.url)), [dir], {
      execArgv: ['--expose-gc'],
    });
    const [message] = await once(child, 'message');
    const { atWarmUp, atEnd, calls } = message as { atWarmUp: Measured; atEnd: Measured; calls: number };
    const perNonce = atEnd.guard.nonceBytes / atEnd.guard.nonces;
    const guardGrowth = atEnd.guard.nonceBytes - atWarmUp.guard.nonceBytes;
    const growth = atEnd.rss - atWarmUp.rss - guardGrowth;
    return [
      {
        what: `nonce guard, ${atEnd.guard.nonces.toLocaleString('en')} nonces`,
        ours: `${perNonce.toFixed(0)} B each`,
        baseline: '555 B each in a Map',
        figure: '',
        target: '≤ 64 B',
        ok: perNonce <= 64,
      },
      {
        what: `RSS over ${calls.toLocaleString('en')} further calls, beside the guard`,
        ours: `${(growth / 1_048_576).toFixed(1)} MiB`,
        baseline: `${(atWarmUp.rss / 1_048_576).toFixed(0)} MiB before them`,
        figure: '',
        target: '< 32 MiB',
        ok: growth < 32 * 1_048_576,
      },
    ];
  });
}
