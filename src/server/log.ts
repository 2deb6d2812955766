import { inspect } from 'node:util';
import type { Logger } from '../tools/index.ts';

function write(level: string): Logger['warn'] {
  return (fields, message) => {
    process.stderr.write(`${lineOf({ time: new Date().toISOString(), level, message, ...fields })}\n`);
  };
}

function lineOf(line: object): string {
  try {
    // An Error has no enumerable members: its stack says what a log needs.
    return JSON.stringify(line, (_name, value: unknown) => (value instanceof Error ? value.stack : value));
  } catch {
    // Tools can throw anything, such as an object that refers to itself.
    return JSON.stringify({ text: inspect(line, { depth: 3, maxStringLength: 10_000 }) });
  }
}

/** What a server logs to unless told otherwise: warnings and errors as JSON lines on stderr. */
export const stderrLog: Logger = {
  debug() {},
  info() {},
  warn: write('warn'),
  error: write('error'),
};

/** A log whose own failures harm nobody. */
export function unfailing(log: Logger): Logger {
  const guard =
    (level: keyof Logger): Logger['warn'] =>
    (fields, message) => {
      try {
        log[level](fields, message);
      } catch (error) {
        stderrLog.error({ err: error, message }, 'the log failed');
      }
    };
  return { debug: guard('debug'), info: guard('info'), warn: guard('warn'), error: guard('error') };
}
