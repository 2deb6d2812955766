import { ProtocolError } from './protocol-error.ts';

/** `invalid_args` with `{issues: [{path, message}]}` as its result; the message names the first of them. */
export function invalidArgs(
  issues: readonly { readonly path: string; readonly message: string }[],
): ProtocolError {
  const [first] = issues;
  const summary = first === undefined ? 'refused by the input schema' : `${first.path}: ${first.message}`;
  return new ProtocolError('invalid_args', summary, { issues });
}

/** All that is wrong by an `invalid_args`, each as `path: message`; its own message names the first. */
export function issuesOf({ result }: ProtocolError): readonly string[] {
  const issues: unknown = result?.['issues'];
  if (!Array.isArray(issues)) return [];
  return issues.map(({ path, message }: { path: string; message: string }) => `${path}: ${message}`);
}
