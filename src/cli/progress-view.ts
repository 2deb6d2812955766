import type { JobProgress, JobUpdate } from '../client/index.ts';
import { columnsOf, paint, printable, type Screen } from './output.ts';

/** Shows how far a job is, for as long as it takes. */
export interface ProgressView {
  /** @param state of the job, like `running` */
  update(state: string, progress: JobProgress | null): void;
  /** Says something beside it, in a line of its own. */
  say(line: string): void;
  /** Takes the bar away; must be called before anything else is written. */
  end(): void;
}

const WIDTH = 24;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const REDRAW_MS = 100;
/** Lines in a log are at least this far apart, unless the state changes. */
const LINE_MS = 1_000;

/** A live bar on a terminal; elsewhere a line at changes, at most one a second. */
export function progressView(stream: Screen, indent = ''): ProgressView {
  return stream.isTTY ? liveBar(stream, indent) : plainLines(stream, indent);
}

function liveBar(stream: Screen, indent: string): ProgressView {
  const startMs = performance.now();
  let line = '';
  const draw = () => {
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
    // One line only: a longer one would wrap and could not be taken back.
    stream.write(`\r\u001b[2K${fit(`${indent}${line}`, `  ${seconds} s`, stream)}`);
  };
  const timer = setInterval(draw, REDRAW_MS);
  timer.unref();
  return {
    update(state, progress) {
      line = `${state} ${barOf(progress)}${describe(progress)}`;
      draw();
    },
    say(text) {
      stream.write(`\r\u001b[2K${indent}${text}\n`);
      draw();
    },
    end() {
      clearInterval(timer);
      stream.write('\r\u001b[2K');
    },
  };
}

function fit(text: string, tail: string, stream: Screen): string {
  const room = Math.max(0, columnsOf(stream) - tail.length - 1);
  return `${text.slice(0, room).replace(/[█▏▎▍▌▋▊▉]+/, (bar) => paint(stream, 'cyan', bar))}${tail}`;
}

function plainLines(stream: Screen, indent: string): ProgressView {
  let lastState = '';
  let lastMs = Number.NEGATIVE_INFINITY;
  return {
    update(state, progress) {
      const nowMs = performance.now();
      if (state === lastState && nowMs - lastMs < LINE_MS) return;
      lastState = state;
      lastMs = nowMs;
      stream.write(`${indent}${state}${describe(progress)}\n`);
    },
    say: (text) => void stream.write(`${indent}${text}\n`),
    end() {},
  };
}

/** The bar itself, empty while nobody knows how much there is to do. */
export function barOf(progress: JobProgress | null): string {
  const eighths = Math.round((fractionOf(progress) ?? 0) * WIDTH * 8);
  return ('█'.repeat(eighths >> 3) + (EIGHTHS[eighths & 7] ?? '')).padEnd(WIDTH, '░');
}

function fractionOf(progress: JobProgress | null): number | null {
  const total = progress?.total ?? 0;
  return progress === null || total <= 0 ? null : Math.min(1, Math.max(0, progress.completed / total));
}

/** ` 25 % (4/16) message`, as far as it is known. */
export function describe(progress: JobProgress | null): string {
  if (progress === null) return '';
  const { completed, total, message } = progress;
  const fraction = fractionOf(progress);
  const share =
    fraction === null ? ` ${completed}` : ` ${Math.floor(fraction * 100)} % (${completed}/${total})`;
  return message === undefined ? share : `${share} ${printable(message)}`;
}

/** `key "message"` of each question, empty for none. */
export function questionsText(questions: JobUpdate['questions']): string {
  return Object.entries(questions)
    .map(([key, { message }]) => `${printable(key)} "${printable(message)}"`)
    .join(', ');
}
