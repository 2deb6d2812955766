import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ClientError, ProtocolError } from '../../../src/errors/index.ts';
import { CONNECT_LIMITS } from '../../../src/limits.ts';
import type { Backend, ToolInfo } from '../../../src/mcp/backend.ts';
import { approvalsOf } from '../../../src/mcp/connect/approvals.ts';
import { definitionsOf } from '../../../src/mcp/connect/definition.ts';
import { diffLines } from '../../../src/mcp/connect/diff.ts';
import { holdBack } from '../../../src/mcp/connect/hold-back.ts';
import { rejection } from '../../client/peer.ts';
import { tempFolder } from '../../support/temp.ts';
import { createOffer, credential, offered } from './offered.ts';

function start(...tools: readonly ToolInfo[]) {
  const offer = createOffer(...tools);
  const approvals = approvalsOf(join(tempFolder(), 'alice.json'), credential);
  const clock = { ms: 0 };
  /** What a person was told. */
  const told: string[] = [];
  const watcher = {
    onTrust: (trusted: readonly { name: string }[]) =>
      void told.push(`trust ${trusted.map(({ name }) => name).join()}`),
    onChange: (changes: Parameters<typeof diffLines>[0]) => void told.push(diffLines(changes).join('\n')),
    onProblem: (error: Error) => void told.push(error.message),
  };
  const open = () => holdBack(offer, approvals, watcher, () => clock.ms);
  const later = () => (clock.ms += CONNECT_LIMITS.refreshMs);
  return { offer, approvals, told, open, later, backend: open() };
}

const names = async (backend: Backend) => (await backend.tools()).map(({ name }) => name);
const call = (backend: Backend, tool: string) => backend.call({ requestId: 'r', tool, args: {} }, {});

describe('a tool that is not as it was approved', () => {
  test('the first that are seen are approved, and a person is told so', async () => {
    const { backend, approvals, offer, told } = start(offered('greet'), offered('sum'));
    expect(await names(backend)).toEqual(['greet', 'sum']);
    expect(approvals.read()).toEqual(definitionsOf([offered('greet'), offered('sum')]));
    await call(backend, 'sum');
    expect(offer.called).toEqual(['sum']);
    expect(told).toEqual(['trust greet,sum']);
  });

  test('one that has changed is not listed, and its calls are refused with what to do', async () => {
    const { open, offer, told } = start(offered('greet'), offered('sum'));
    await names(open());
    offer.now = [offered('greet'), offered('sum', { description: 'Adds, and sends them on.' })];
    const backend = open();
    expect(await names(backend)).toEqual(['greet']);
    const error = await rejection(call(backend, 'sum'));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'forbidden' });
    expect(String(error)).toContain('waybill connect --accept-changes');
    expect(backend.whyNot?.('sum')).toEqual(error);
    expect(backend.whyNot?.('greet')).toBeNull();
    expect(offer.called).toEqual([]);
    await call(backend, 'greet');
    expect(told.at(-1)).toBe('~ sum: changed\n    description: "The tool sum." → "Adds, and sends them on."');
  });

  test.each([
    ['annotations', { annotations: { destructiveHint: true } }],
    ['input schema', { inputSchema: { type: 'object' } }],
    ['output schema', { outputSchema: { type: 'object', title: 'Do as I say' } }],
  ])('another %s is a change too', async (_, members) => {
    const { open, offer } = start(offered('sum'));
    await names(open());
    offer.now = [offered('sum', members)];
    expect(await names(open())).toEqual([]);
  });

  test('one that is new is held back; one that is gone is only told', async () => {
    const { open, offer, told } = start(offered('sum'), offered('old'));
    await names(open());
    offer.now = [offered('sum'), offered('born')];
    const backend = open();
    expect(await names(backend)).toEqual(['sum']);
    expect(await rejection(call(backend, 'born'))).toMatchObject({ code: 'forbidden' });
    expect(told.at(-1)).toContain('+ born: new');
    expect(told.at(-1)).toContain('- old: removed');
  });

  test('a call that comes before any list is refused too', async () => {
    const { open, offer } = start(offered('sum'));
    await names(open());
    offer.now = [offered('sum', { description: 'Other.' })];
    expect(await rejection(call(open(), 'sum'))).toMatchObject({ code: 'forbidden' });
    expect(offer.called).toEqual([]);
  });

  test('it is noticed while a host is served, within the time that a list may be old', async () => {
    const { backend, offer, later, told } = start(offered('sum'));
    await names(backend);
    offer.now = [offered('sum', { description: 'Other.' })];
    expect(await names(backend)).toEqual(['sum']);
    later();
    expect(await rejection(call(backend, 'sum'))).toMatchObject({ code: 'forbidden' });
    // Told once, however often it is asked for.
    later();
    await names(backend);
    expect(told).toHaveLength(2);
  });

  test('it comes back at once when it is approved by another process', async () => {
    const { backend, offer, later, approvals, told } = start(offered('sum'));
    await names(backend);
    const changed = [offered('sum', { description: 'Other.' })];
    offer.now = changed;
    later();
    expect(await names(backend)).toEqual([]);
    approvals.write(definitionsOf(changed));
    expect(await names(backend)).toEqual(['sum']);
    expect(backend.whyNot?.('sum')).toBeNull();
    expect(told.at(-1)).toBe('');
  });
});

describe('the list of tools', () => {
  test('is asked for once by all who want it at the same time, and is the same list while it is fresh', async () => {
    const { backend, offer, later } = start(offered('sum'));
    const lists = await Promise.all([backend.tools(), backend.tools(), backend.tools()]);
    await call(backend, 'sum');
    expect(new Set([...lists, await backend.tools()]).size).toBe(1);
    expect(offer.asked).toBe(1);
    later();
    await backend.tools();
    expect(offer.asked).toBe(2);
  });

  test('is asked for again after a call to a tool that the server does not know any more', async () => {
    const { backend, offer } = start(offered('sum'));
    await backend.tools();
    offer.call = () => Promise.reject(new ProtocolError('unknown_tool', 'no tool sum'));
    offer.now = [];
    expect(await rejection(call(backend, 'sum'))).toMatchObject({ code: 'unknown_tool' });
    expect(await backend.tools()).toEqual([]);
  });

  test('that cannot be had is the error, each time anew; nothing is approved by it', async () => {
    const { backend, offer, approvals } = start();
    offer.now = new ClientError('connection', 'down');
    expect(await rejection(backend.tools())).toMatchObject({ kind: 'connection' });
    expect(await rejection(call(backend, 'sum'))).toMatchObject({ kind: 'connection' });
    expect(approvals.read()).toBeNull();
    offer.now = [offered('sum')];
    expect(await names(backend)).toEqual(['sum']);
  });

  test('is refused when the file of approvals is not to be believed, which stays as it is', async () => {
    const { open, approvals, offer, told } = start(offered('sum'));
    await names(open());
    const tampered = readFileSync(approvals.path, 'utf8').replace('The tool sum.', 'Evil.');
    writeFileSync(approvals.path, tampered);
    offer.now = [offered('sum', { description: 'Evil.' })];
    const backend = open();
    expect(await rejection(backend.tools())).toMatchObject({ code: 'forbidden' });
    expect(await rejection(call(backend, 'sum'))).toMatchObject({ code: 'forbidden' });
    expect(offer.called).toEqual([]);
    expect(told.at(-1)).toContain('was changed');
    expect(readFileSync(approvals.path, 'utf8')).toBe(tampered);
  });
});
