import { parseArgs } from 'node:util';
import { seedOfRun } from '../support/random.ts';
import { missingServices } from '../support/services/index.ts';
import { runChaos } from './run.ts';

const USAGE = `Runs servers and workers through faults, and checks that nothing is lost, done twice or told wrong.

usage: npm run chaos -- [--jobs N] [--seconds N] [--seed N] [--replicas N] [--workers N] [--no-redis]

  --jobs N      jobs to start, beside direct calls (default: 20000)
  --seconds N   time over which they are spread, with faults all the while (default: 240)
  --seed N      of a run that is to be repeated (default: TEST_SEED, else a new one)
  --replicas N  processes that serve; every second one runs jobs too (default: 3)
  --workers N   processes that only run jobs (default: 3)
  --no-redis    queue in PostgreSQL, beside the records

exit code: 0 all is as it must be, 1 something is not, 2 it could not be run
`;

/** The run cannot begin; the message says why. */
class UsageError extends Error {}

function readOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const options = {
    ...{ jobs: text, seconds: text, seed: text, replicas: text, workers: text },
    'no-redis': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args, options });
  const number = (
    name: 'jobs' | 'seconds' | 'seed' | 'replicas' | 'workers',
    otherwise: number,
    least: number,
  ) => {
    const value = Number(values[name] ?? otherwise);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new UsageError(`--${name} must be a whole number from ${least}`);
  };
  return {
    help: values.help,
    jobs: number('jobs', 20_000, 1),
    seconds: number('seconds', 240, 1),
    seed: number('seed', seedOfRun(), 0),
    // Requests are replayed to another one than the one that accepted them; another worker takes jobs over.
    replicas: number('replicas', 3, 2),
    workers: number('workers', 3, 1),
    redis: !values['no-redis'],
  };
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<number> {
  const { help, ...options } = readOptions(process.argv.slice(2));
  if (help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const wanted = options.redis ? ['own-postgres', 'own-redis'] : ['own-postgres'];
  const missing = missingServices().find(({ tags }) => tags.some((tag) => wanted.includes(tag)));
  if (missing !== undefined) throw new UsageError(missing.remedy);
  tell(`chaos: TEST_SEED=${options.seed}, ${options.jobs} jobs in ${options.seconds} s`);
  const { violations, timeline, summary } = await runChaos({ ...options, onProgress: tell });
  for (const text of [timeline, ...violations]) tell(text);
  process.stdout.write(`${summary}\n`);
  return violations.length === 0 ? 0 : 1;
}

// Everything that was started ends with this process, however it ends.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    tell(
      error instanceof UsageError
        ? `chaos: ${error.message}`
        : String(error instanceof Error ? error.stack : error),
    );
    process.exit(2);
  },
);
