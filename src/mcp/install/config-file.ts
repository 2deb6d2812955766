import { constants, copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { SetupError, systemCodeOf } from '../../errors/index.ts';
import { INSTALL_LIMITS } from '../../limits.ts';
import { writeWhole } from '../write-file.ts';

/** A configuration as it was read. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
  /** Permissions; null: the file does not exist. */
  readonly mode: number | null;
}

/** @throws SetupError for a file that cannot be read as UTF-8 text */
export function readConfig(path: string): ConfigFile {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new SetupError(`${path} is not a regular file`);
    if (stat.size > INSTALL_LIMITS.maxConfigBytes)
      throw new SetupError(`${path} has over ${INSTALL_LIMITS.maxConfigBytes} bytes`);
    const bytes = readFileSync(path);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { path, text, mode: stat.mode & 0o777 };
  } catch (error) {
    if (error instanceof SetupError) throw error;
    if (systemCodeOf(error) === 'ENOENT') return { path, text: '', mode: null };
    if (error instanceof TypeError) throw new SetupError(`${path} is not UTF-8 text`, { cause: error });
    throw new SetupError(`cannot read ${path}: ${wordsOf(error)}`, { cause: error });
  }
}

/**
 * Writes the changed text, with a backup of the old one beside it.
 *
 * @param newMode permissions of a file that did not exist
 * @returns path of the backup; null: there was nothing to keep
 * @throws SetupError; the configuration is then as it was
 */
export function writeConfig(before: ConfigFile, text: string, newMode: number, now: Date): string | null {
  const { path, mode } = before;
  // A person has thought about it meanwhile, and hosts write this file too.
  if (readConfig(path).text !== before.text)
    throw new SetupError(`${path} has just been changed by another program: run this again`);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const backup = mode === null ? null : `${path}.${now.toISOString().replace(/[:.]/g, '-')}.bak`;
    // The copy keeps the permissions; what is there already stays.
    if (backup !== null) copyFileSync(path, backup, constants.COPYFILE_EXCL);
    writeWhole(path, text, mode ?? newMode);
    return backup;
  } catch (error) {
    throw new SetupError(`cannot write ${path}: ${wordsOf(error)}`, { cause: error });
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
