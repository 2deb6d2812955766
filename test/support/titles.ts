import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The text of a file below test/; empty if there is none. */
function sourceOf(file: string): string {
  try {
    return readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), 'utf8');
  } catch {
    return '';
  }
}

/** Does the file below test/ have a test of this title? Titles are written as one string, in quotes of any kind. */
export function hasTest(file: string, title: string): boolean {
  const source = sourceOf(file);
  if (file.endsWith('.json')) return source.includes(`"name": ${JSON.stringify(title)}`);
  return ["'", '"', '`'].some((quote) => {
    return source.includes(`${quote}${title.replaceAll(quote, `\\${quote}`)}${quote}`);
  });
}
