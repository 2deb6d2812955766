import { expect, onTestFinished, test, vi } from 'vitest';
import { startChild } from '../../../src/mcp/wrap/child.ts';

test('a process that has gone is sent nothing more: its number may be another one’s by then', async () => {
  let end = (_why: string) => {};
  const ended = new Promise<string>((resolve) => {
    end = resolve;
  });
  const target = { kind: 'command', command: process.execPath, args: ['-e', ''], env: {} } as const;
  const child = await startChild(target, {}, { onOutput() {}, onErrorOutput() {}, onEnd: end });
  expect(await ended).toBe('exited with code 0');
  const kill = vi.spyOn(process, 'kill');
  onTestFinished(() => kill.mockRestore());
  await child.kill();
  await child.end();
  expect(kill).not.toHaveBeenCalled();
});
