import { buildIfStale } from '../scripts/setup.mjs';

/** Tests of processes run dist/: build it once, before any of them starts. Types are the job of `npm run check`. */
export default function setup(): void {
  const problems = buildIfStale();
  if (problems !== null) console.warn(`dist/ was built although the compiler objects:\n${problems}\n`);
}
