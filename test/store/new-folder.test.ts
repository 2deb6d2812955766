import { expect, test } from 'vitest';
import { runChild } from '../support/child.ts';
import { tempFolder } from '../support/temp.ts';

const FOLDERS = 20;

const OPEN_EACH = `
  import { createInterface } from 'node:readline';
  import { openClientStore } from 'DISTstore/index.js';
  console.log('ready');
  for await (const dir of createInterface({ input: process.stdin })) {
    let said = 'opened';
    try {
      await openClientStore({ dir, serverId: 'srv-1' }).close();
    } catch (error) {
      said = error.message;
    }
    console.log(said);
  }`;

test('a new folder may be opened by several processes at once', async () => {
  const children = [1, 2, 3].map(() => runChild(OPEN_EACH));
  for (const child of children) expect(await child.line()).toBe('ready');
  for (let i = 0; i < FOLDERS; i++) {
    const dir = tempFolder();
    for (const child of children) child.process.stdin?.write(`${dir}\n`);
    expect(await Promise.all(children.map(async ({ line }) => line()))).toEqual(children.map(() => 'opened'));
  }
});
