import { describe, expect, test } from 'vitest';
import canonicalize from 'canonicalize';
import { type AuditLine, digest, linesIn } from '../support/audit.ts';
import { readTool } from '../support/server.ts';
import { type Face, startFace } from './face.ts';

const tools = [readTool('reports.read', () => ({})), readTool('admin.reset', () => ({}))];

const callsOf = ({ peer }: Face): AuditLine[] =>
  linesIn(peer.dir).filter(({ type, wire }) => type === 'call' && wire === 'mcp');

describe('the audit of /mcp', () => {
  test('names the token that was shown, of a client that has two', async () => {
    const face = await startFace({ tools });
    const tokens = [face.token, await face.peer.server.addToken('agent-a'), face.token];
    for (const token of tokens) await face.call('reports.read', {}, { token });
    expect(callsOf(face).map(({ key }) => key)).toEqual(tokens.map((token) => digest(token).slice(0, 16)));
  });

  test('has calls of tools that the client may not call, or that there are not, of both eras', async () => {
    const face = await startFace({ tools });
    const { server } = face.peer;
    await server.addClient({ id: 'bob', url: 'http://127.0.0.1:9/call', terms: { scopes: ['reports.*'] } });
    const token = await server.addToken('bob');
    for (const name of ['admin.reset', 'reports.none']) {
      await face.call(name, { n: 1 }, { token });
      const message = { id: 1, method: 'tools/call', params: { name, arguments: { n: 1 } } };
      await face.older(message, { authorization: `Bearer ${token}` });
    }
    const seen = (tool: string, outcome: string) => ({
      client: 'bob',
      key: digest(token).slice(0, 16),
      tool,
      outcome,
      request: digest(canonicalize({ args: { n: 1 }, tool }) ?? ''),
    });
    const forbidden = seen('admin.reset', 'forbidden');
    const unknown = seen('reports.none', 'unknown_tool');
    expect(callsOf(face)).toMatchObject([forbidden, forbidden, unknown, unknown]);
  });

  test('keeps no more of a name than the longest name of a tool has', async () => {
    const face = await startFace({ tools });
    const name = 'x'.repeat(100_000);
    const message = { id: 1, method: 'tools/call', params: { name, arguments: {} } };
    expect((await face.older(message)).message.error.message).toContain('there is no tool');
    expect(callsOf(face)).toMatchObject([{ tool: 'x'.repeat(128), outcome: 'unknown_tool' }]);
  });
});
