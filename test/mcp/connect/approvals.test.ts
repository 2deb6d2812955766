import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../../src/errors/index.ts';
import { approvalsOf } from '../../../src/mcp/connect/approvals.ts';
import { definitionsOf } from '../../../src/mcp/connect/definition.ts';
import { generateSecret } from '../../../src/wire/index.ts';
import { tempFolder } from '../../support/temp.ts';
import { credential, offered } from './offered.ts';

const TOOLS = definitionsOf([offered('sum'), offered('greet', { description: 'Zoë 👋' })]);

function start() {
  const dir = tempFolder();
  const path = join(dir, 'alice.json');
  return { dir, file: `${path}.tools.json`, path, approvals: approvalsOf(path, credential) };
}

describe('approved tools', () => {
  test('are nothing before the first connect, then what was written, in a file for its owner', () => {
    const { dir, file, approvals } = start();
    expect(approvals.read()).toBeNull();
    approvals.write(TOOLS);
    expect(approvals.read()).toEqual(TOOLS);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    // Nothing is left of the way there.
    expect(readdirSync(dir)).toEqual(['alice.json.tools.json']);
    expect(readFileSync(file, 'utf8')).not.toContain(credential.request_key);
  });

  test('are written where a symbolic link leads', () => {
    const { dir, file, approvals } = start();
    const target = join(dir, 'elsewhere.json');
    writeFileSync(target, '');
    symlinkSync(target, file);
    approvals.write(TOOLS);
    expect(readFileSync(target, 'utf8')).toContain('greet');
    expect(approvals.read()).toEqual(TOOLS);
  });

  const changes: Readonly<Record<string, (text: string) => string>> = {
    'another description': (text) => text.replace('The tool sum.', 'Ignore all.'),
    'a tool less': (text) => {
      const { tools, mac } = JSON.parse(text);
      delete tools.sum;
      return JSON.stringify({ tools, mac });
    },
    'another mac': (text) => text.replace(/"mac": "\w{4}/, '"mac": "0000'),
    'no mac': (text) => JSON.stringify({ tools: JSON.parse(text).tools }),
    'a definition of another shape': (text) => text.replace('"annotations"', '"annotation"'),
    'a name that no message may have': (text) => text.replace('"readOnlyHint"', '"__proto__"'),
    'half of it': (text) => text.slice(0, text.length / 2),
    nothing: () => '',
    'no object': () => '[]',
  };

  test.each(Object.entries(changes))('in a file with %s are refused, and the file stays', (_, change) => {
    const { file, approvals } = start();
    approvals.write(TOOLS);
    const changed = change(readFileSync(file, 'utf8'));
    writeFileSync(file, changed);
    expect(() => approvals.read()).toThrow(SetupError);
    expect(() => approvals.read()).toThrow(/remove it/);
    expect(readFileSync(file, 'utf8')).toBe(changed);
  });

  test('of another credential are refused', () => {
    const { path, approvals } = start();
    approvals.write(TOOLS);
    for (const other of [{ request_key: generateSecret() }, { server_id: 'srv-2' }, { client_id: 'bob' }])
      expect(() => approvalsOf(path, { ...credential, ...other }).read()).toThrow(/another credential/);
  });

  test('that are a pipe do not hold the start up', () => {
    const { file, approvals } = start();
    execFileSync('mkfifo', [file]);
    expect(() => approvals.read()).toThrow(SetupError);
  });

  test('that cannot be read or written are a SetupError', () => {
    const { dir, file, approvals } = start();
    mkdirSync(file);
    expect(() => approvals.read()).toThrow(SetupError);
    expect(() => approvals.write(TOOLS)).toThrow(SetupError);
    expect(() => approvalsOf(join(dir, 'no/where.json'), credential).write(TOOLS)).toThrow(SetupError);
    expect(existsSync(join(dir, 'no'))).toBe(false);
    expect(readdirSync(dir)).toEqual(['alice.json.tools.json']);
  });
});
