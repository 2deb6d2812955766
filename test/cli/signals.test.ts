import { expect, test } from 'vitest';
import { interruptible } from '../../src/cli/signals.ts';

/** Work that ends when it is told to, and not before. */
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

test('work that must clean up ends in order at SIGTERM as well, and listens no longer', async () => {
  const before = process.listenerCount('SIGTERM');
  const ended = interruptible(() => 'nothing was exported', untilAborted, ['SIGINT', 'SIGTERM']);
  process.emit('SIGTERM');
  await expect(ended).rejects.toThrow('nothing was exported');
  expect(process.listenerCount('SIGTERM')).toBe(before);
});
