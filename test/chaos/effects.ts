import { existsSync, openSync, readSync } from 'node:fs';

/** The lines that the tools left, as far as they were read. The keys are request_ids. */
export interface Effects {
  /** Every attempt of each job, in the order in which the tool began. */
  readonly starts: ReadonlyMap<string, readonly Start[]>;
  /** The fences of the attempts that came to their end. */
  readonly ends: ReadonlyMap<string, readonly number[]>;
  /** How often each call ran. */
  readonly calls: ReadonlyMap<string, number>;
  /** Reads what has been added since. */
  read(): void;
}

export interface Start {
  readonly fence: number;
  readonly pid: number;
  /** Epoch milliseconds. */
  readonly atMs: number;
}

export function followEffects(file: string): Effects {
  const starts = new Map<string, Start[]>();
  const ends = new Map<string, number[]>();
  const calls = new Map<string, number>();
  const buffer = Buffer.alloc(65_536);
  let descriptor: number | null = null;
  let rest = '';

  function readLine(line: string): void {
    const [what, requestId = '', ...numbers] = line.split(' ');
    const [fence = 0, pid = 0, atMs = 0] = numbers.map(Number);
    if (what === 'start') add(starts, requestId, { fence, pid, atMs });
    if (what === 'end') add(ends, requestId, fence);
    if (what === 'call') calls.set(requestId, (calls.get(requestId) ?? 0) + 1);
  }

  return {
    starts,
    ends,
    calls,
    read() {
      if (descriptor === null && !existsSync(file)) return;
      descriptor ??= openSync(file, 'r');
      for (let length = 1; length > 0; ) {
        length = readSync(descriptor, buffer);
        const lines = `${rest}${buffer.toString('latin1', 0, length)}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) readLine(line);
      }
    },
  };
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
