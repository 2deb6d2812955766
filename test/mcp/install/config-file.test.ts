import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../../src/errors/index.ts';
import { readConfig, writeConfig } from '../../../src/mcp/install/config-file.ts';
import { tempFolder } from '../../support/temp.ts';

const NOW = new Date(Date.UTC(2026, 0, 1));

describe('a configuration behind a symbolic link', () => {
  test('is written where the link leads, and the link stays', () => {
    const folder = tempFolder();
    const path = join(folder, 'config.json');
    mkdirSync(join(folder, 'dotfiles'));
    const target = join(folder, 'dotfiles', 'config.json');
    writeFileSync(target, '{}', { mode: 0o640 });
    symlinkSync(target, path);
    writeConfig(readConfig(path), '{"a":1}', 0o600, NOW);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readFileSync(target, 'utf8')).toBe('{"a":1}');
    expect(lstatSync(target).mode & 0o777).toBe(0o640);
  });

  test.each([
    ['nowhere', 'gone.json'],
    ['to itself', 'config.json'],
  ])('that leads %s is a SetupError, and the link stays', (_where, target) => {
    const folder = tempFolder();
    const path = join(folder, 'config.json');
    symlinkSync(join(folder, target), path);
    expect(() => writeConfig(readConfig(path), '{}', 0o600, NOW)).toThrow(SetupError);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder)).toEqual(['config.json']);
  });
});
