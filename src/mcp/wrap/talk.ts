import { WRAP_LIMITS } from './limits.ts';
import type { Logger } from '../../tools/index.ts';

/** What a foreign server says, in our log: each line bounded, and not more of them than anybody can read. */
export interface Talk {
  say(level: 'debug' | 'info' | 'warn', text: string, message: string): void;
}

export function createTalk(log: Logger): Talk {
  let windowEndsMs = 0;
  let said = 0;
  let leftOut = 0;

  function sumUp(): void {
    log.warn({ lines: leftOut }, 'the wrapped server writes too much: lines were left out');
    leftOut = 0;
  }

  return {
    say(level, text, message) {
      const nowMs = performance.now();
      if (nowMs >= windowEndsMs) {
        windowEndsMs = nowMs + 1_000;
        said = 0;
      }
      said++;
      if (said > WRAP_LIMITS.maxLinesPerSecond) {
        if (leftOut === 0) setTimeout(sumUp, windowEndsMs - nowMs).unref();
        leftOut++;
        return;
      }
      log[level]({ text: shorten(text, WRAP_LIMITS.maxLineChars) }, message);
    },
  };
}

/** Text of a foreign server for a log, a message or a record. */
export function shorten(text: string, maxChars: number): string {
  return (text.length > maxChars ? `${text.slice(0, maxChars)}…` : text).toWellFormed();
}
