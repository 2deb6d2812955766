import { existsSync, readFileSync } from 'node:fs';

/** The version of this package, from the nearest package.json above this file. */
export function packageVersion(): string {
  let url = new URL('../package.json', import.meta.url);
  while (!existsSync(url) && url.pathname !== '/package.json') url = new URL('../package.json', url);
  const manifest: unknown = JSON.parse(readFileSync(url, 'utf8'));
  // Our own file.
  return (manifest as { readonly version: string }).version;
}
