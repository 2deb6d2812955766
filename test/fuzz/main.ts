import { parseArgs } from 'node:util';
import { seedOfRun } from '../support/random.ts';
import { runFuzz } from './run.ts';

const USAGE = `Sends a server what it should refuse or survive, and checks every reply.

usage: npm run fuzz -- [--seconds N] [--seed N] [--json]

  --seconds N   how long (default: 60)
  --seed N      of a run that is to be repeated (default: TEST_SEED, else a new one)
  --json        the report as one line of JSON

exit code: 0 nothing was found, 1 something was, 2 it could not be run
`;

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

function readOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({ args, options: { seconds: text, seed: text, json: flag, help: flag } });
  const number = (name: 'seconds' | 'seed', otherwise: number, least: number) => {
    const value = Number(values[name] ?? otherwise);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new TypeError(`--${name} must be a whole number from ${least}`);
  };
  return { ...values, seconds: number('seconds', 60, 1), seed: number('seed', seedOfRun(), 0) };
}

async function main(): Promise<number> {
  const { help, json, seed, seconds } = readOptions(process.argv.slice(2));
  if (help) {
    process.stdout.write(USAGE);
    return 0;
  }
  tell(`fuzz: TEST_SEED=${seed}, ${seconds} s`);
  const report = await runFuzz({ seed, seconds, onProgress: tell });
  const { findings, heap, outcomes, ...counts } = report;
  const mib = heap.map((bytes) => Math.round(bytes / 1024 / 1024));
  process.stdout.write(
    json
      ? `${JSON.stringify(report)}\n`
      : `${JSON.stringify({ ...counts, heapMiB: mib, outcomes, findings }, null, 2)}\n`,
  );
  return findings.length === 0 ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    tell(String(error instanceof TypeError ? `fuzz: ${error.message}` : (error as Error).stack));
    process.exit(2);
  },
);
