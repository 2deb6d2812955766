import type { ProtocolError } from './protocol-error.ts';

/** All that is wrong by an `invalid_args`, each as `path: message`; its own message names the first. */
export function issuesOf({ result }: ProtocolError): readonly string[] {
  const issues: unknown = result?.['issues'];
  if (!Array.isArray(issues)) return [];
  return issues.map(({ path, message }: { path: string; message: string }) => `${path}: ${message}`);
}
