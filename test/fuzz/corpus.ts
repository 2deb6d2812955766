import { readdirSync, readFileSync } from 'node:fs';

/** An input by its name. */
export interface Entry {
  readonly name: string;
  readonly template: Buffer;
}

/** The inputs of a folder below corpus/. */
export function readCorpus(folder: 'call' | 'mcp'): readonly Entry[] {
  const url = new URL(`corpus/${folder}/`, import.meta.url);
  return readdirSync(url)
    .sort()
    .map((name) => ({ name: `${folder}/${name}`, template: readFileSync(new URL(name, url)) }));
}
