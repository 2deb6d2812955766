import type { TestProject } from 'vitest/node';
import { buildIfStale } from '../scripts/setup.mjs';
import { openHub } from './support/services/hub.ts';
import { missingServices } from './support/services/index.ts';

/**
 * Before any test: builds dist/, which tests of processes run (types are the job of `npm run check`), and opens the
 * hub that starts PostgreSQL and Redis when a test first asks. After the last: ends them, and tells what was skipped.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const problems = buildIfStale();
  if (problems !== null) console.warn(`dist/ was built although the compiler objects:\n${problems}\n`);
  const hub = await openHub();
  project.provide('services', hub.url);
  return async () => {
    await hub.close();
    reportSkipped(project);
  };
}

/** One loud line for each service that tests were skipped for; with CI=true that is a failure. */
function reportSkipped(project: TestProject): void {
  const allSkipped = project.vitest.state
    .getTestModules()
    .flatMap((module) => Array.from(module.children.allTests('skipped')));
  for (const { tags, remedy } of missingServices()) {
    const skipped = allSkipped.filter((test) => tags.some((tag) => test.tags.includes(tag)));
    if (skipped.length === 0) continue;
    const files = new Set(skipped.map((test) => test.module.moduleId));
    const failure = process.env['CI'] === 'true' ? ', which is a failure with CI=true' : '';
    console.error(`⚠ SKIPPED ${skipped.length} tests in ${files.size} files${failure}: ${remedy}`);
    if (failure !== '') process.exitCode = 1;
  }
}
