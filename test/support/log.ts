import type { Logger } from '../../src/tools/index.ts';

export interface LogLine {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that keeps what it is told. */
export interface TestLog extends Logger {
  readonly lines: readonly LogLine[];
  /** Lines of level warn and error. */
  readonly complaints: readonly LogLine[];
}

export function createTestLog(): TestLog {
  const lines: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  return {
    lines,
    get complaints() {
      return lines.filter(({ level }) => level === 'warn' || level === 'error');
    },
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}
