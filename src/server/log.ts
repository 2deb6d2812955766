import type { Logger } from '../tools/index.ts';

function write(level: string): Logger['warn'] {
  return (fields, message) => {
    const line = { time: new Date().toISOString(), level, message, ...fields };
    // An Error has no enumerable members: its stack says what a log needs.
    const text = JSON.stringify(line, (_name, value: unknown) =>
      value instanceof Error ? value.stack : value,
    );
    process.stderr.write(`${text}\n`);
  };
}

/** What a server logs to unless told otherwise: warnings and errors as JSON lines on stderr. */
export const stderrLog: Logger = {
  debug() {},
  info() {},
  warn: write('warn'),
  error: write('error'),
};
