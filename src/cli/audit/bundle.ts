import { Option } from 'commander';
import type { BundleSource, Finding } from '../../audit/index.ts';
import { SetupError } from '../../errors/index.ts';
import { Failure } from '../exits.ts';
import { withFile } from '../read-file.ts';

/** What the verbs that read a bundle have in common. */

/** Not parsed here: which key it is matters only beside the bundle. */
export const keyOption = (): Option =>
  new Option('--key <key>', 'the public audit key, wbp_…, as you were given it').env('WAYBILL_AUDIT_KEY');

/** @throws Failure for a text that is no such key */
export async function checkKey(key: string | undefined): Promise<{ readonly key?: string }> {
  if (key === undefined) return {};
  const { auditKeyOf } = await import('../../audit/index.ts');
  if (auditKeyOf(key) !== null) return { key };
  throw new Failure(
    'wrongUse',
    'usage',
    '--key is not a public audit key: give the text that "waybill audit key" prints, wbp_…',
  );
}

/** The bundle in a file, and how long that is. @throws SetupError where there is none that could be read */
export async function openBundle(
  path: string,
): Promise<{ readonly source: BundleSource; readonly bytes: number }> {
  const bytes = withFile(path, 'bundle', (_file, { size }) => size);
  if (bytes === 0) {
    throw new SetupError(`bundle ${path} is empty: name the file that "waybill audit export" wrote`);
  }
  const { bundleFile } = await import('../../audit/index.ts');
  return { source: bundleFile(path), bytes };
}

/** What does not hold, as a failure. @param what the bundle or the store, for a person */
export function brokenAudit(
  found: Finding,
  what: string,
  more: Readonly<Record<string, unknown>> = {},
): Failure {
  const { problem, chain, seq, line, message } = found;
  if (problem === 'not_a_bundle') {
    return new Failure(
      'wrongUse',
      'setup',
      `${what} is not a bundle of the audit: name the file that "waybill audit export" wrote`,
    );
  }
  const result = { problem, chain, seq, line, ...more };
  return new Failure('refused', 'audit_broken', `${what}: ${message}`, { result });
}

/** By which key it is signed is only worth something to who knows whose key that is. */
export function keyText(key: string, isGiven: boolean): string {
  return isGiven
    ? `signed with ${key}, the key that you gave`
    : `signed with ${key}: compare it with what "waybill audit key" prints, or with audit_key of server_identity`;
}
