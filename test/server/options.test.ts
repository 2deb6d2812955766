import { describe, expect, test } from 'vitest';
import type { ServerOptions } from '../../src/server/index.ts';
import { createServer } from '../../src/server/index.ts';
import { readTool } from '../support/server.ts';
import { tempFolder } from '../support/temp.ts';

describe('options of a server', () => {
  const twin = readTool('twin', () => ({}));

  test.each<[string, object, RegExp]>([
    ['a name that is no option', { server_id: 'acme' }, /there is no option "server_id"/],
    ['a limit that is none', { messageLimits: { maxBytes: 1 } }, /there is no option "maxBytes"/],
    ['a number out of bounds', { leaseMs: 1 }, /leaseMs must be an integer from 100 to/],
    ['no room for a single job', { maxOpenJobs: 0 }, /maxOpenJobs must be an integer from 1 to/],
    ['nesting beyond what a peer can write', { messageLimits: { maxDepth: 33 } }, /maxDepth must be/],
    ['a store of another kind', { store: 'mysql:x' }, /store must be sqlite:FOLDER/],
    ['a wrong server id', { serverId: '-x' }, /serverId must be/],
    ['two tools of one name', { tools: [twin, twin] }, /two tools are named twin/],
    [
      'the name of a built-in tool',
      { tools: [readTool('poll_job', () => ({}))] },
      /every server has a tool named/,
    ],
    ['a master key that can be guessed', { masterKey: 'open sesame' }, /masterKey is shorter than 32 bytes/],
    ['a master key that is no text', { masterKey: Buffer.alloc(32) }, /masterKey must be a text/],
    ['what is no tool', { tools: [{ name: 'x' }] }, /what defineTool returns/],
  ])('%s is refused before anything is opened', async (_what, options, message) => {
    // What a program in plain JavaScript may pass.
    const given = { tools: [], store: `sqlite:${tempFolder()}`, ...options } as ServerOptions;
    await expect(createServer(given)).rejects.toThrow(message);
  });
});
