import { expect, test } from 'vitest';
import { jobCommand } from '../../../src/cli/call/follow.ts';

test('a command to go on with is one command, whatever id a server gave its job', () => {
  const flags = { credential: 'alice.json' };
  expect(jobCommand('wait', 'job_1', flags)).toBe('waybill jobs wait job_1 --credential alice.json');
  expect(jobCommand('wait', "x'; rm -rf ~\u001b[2J", flags)).toBe(
    "waybill jobs wait 'x'\\''; rm -rf ~?[2J' --credential alice.json",
  );
});
