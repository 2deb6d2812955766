/** Where a foreign server is: a command that starts it, or an address. */
export type Target = CommandTarget | HttpTarget;

export interface CommandTarget {
  readonly kind: 'command';
  readonly command: string;
  readonly args: readonly string[];
  /** Variables for it beside those that every program needs, such as PATH and HOME. */
  readonly env: Readonly<Record<string, string>>;
}

export interface HttpTarget {
  readonly kind: 'http';
  readonly url: string;
  /** Sent as `Authorization: Bearer`. */
  readonly token?: string;
}

/** For messages: without arguments, query and password, which may be secret. */
export function nameOf(target: Target): string {
  if (target.kind === 'command') return target.command;
  const { origin, pathname } = new URL(target.url);
  return `${origin}${pathname}`;
}
