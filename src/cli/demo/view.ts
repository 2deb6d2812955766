import type { JobProgress } from '../../client/index.ts';
import { isObject, type RequestMessage, type ResponseMessage } from '../../wire/index.ts';
import { columnsOf, paint, printable } from '../output.ts';
import { type ProgressView, progressView } from '../progress-view.ts';

/** One message each way, as it was on the wire. */
export interface Exchange {
  readonly sent: RequestMessage;
  readonly got: ResponseMessage;
}

/** Tells a person what happens, while it happens. */
export interface DemoView {
  begin(url: string): void;
  step(number: number, shows: string): void;
  exchange(exchange: Exchange): void;
  /** @param why it did not come out as it must; null: it did */
  stepDone(why: string | null): void;
  end(right: number, all: number, tookMs: number): void;
}

const out = process.stdout;
const INDENT = '   ';
const MAX_COLUMNS = 110;
const SIGNATURE_COLUMNS = 21;

/** For `--json`: the document at the end says it all. */
export const SILENT: DemoView = { begin() {}, step() {}, exchange() {}, stepDone() {}, end() {} };

export function textView(): DemoView {
  let bar: ProgressView | null = null;

  function standing(status: string, progress: JobProgress | null): void {
    bar ??= progressView(out, `${INDENT}← `);
    bar.update(status, progress);
  }

  function endBar(): void {
    bar?.end();
    bar = null;
  }

  return {
    begin(url) {
      say(`${paint(out, 'bold', 'waybill demo')}: the agent "alice" calls the tools of the server "demo".`);
      say(paint(out, 'dim', `A real server at ${url}, its jobs and nonces in a SQLite file.`));
    },
    step(number, shows) {
      say(`\n${paint(out, 'bold', `${number}  ${shows}`)}`);
    },
    exchange({ sent, got }) {
      const isPoll = sent.tool === 'poll_job';
      if (!isPoll) say(line('→', sent.tool, sent.args, sent.signature));
      if (isPoll && (got.status === 'accepted' || got.status === 'running')) {
        return standing(got.status, progressOf(got));
      }
      endBar();
      const { status, error, result, signature } = got;
      say(line('←', error === null ? status : `error ${error}`, error === null ? result : null, signature));
    },
    stepDone(why) {
      endBar();
      if (why !== null) say(`${INDENT}${paint(out, 'red', `✗ ${printable(why)}`)}`);
    },
    end(right, all, tookMs) {
      const text = `${right} of ${all} steps came out as they must, in ${(tookMs / 1_000).toFixed(1)} s.`;
      say(`\n${right === all ? paint(out, 'green', `✓ ${text}`) : paint(out, 'red', `✗ ${text}`)}`);
      if (right === all) say(paint(out, 'dim', 'A server of your own: waybill serve --help'));
    },
  };
}

function say(text: string): void {
  out.write(`${text}\n`);
}

/** An arrow, what was said in short, and at the right the beginning of the signature. */
function line(arrow: string, said: string, value: object | null, signature: string): string {
  const room = Math.min(columnsOf(out), MAX_COLUMNS) - INDENT.length - SIGNATURE_COLUMNS;
  const whole = value === null ? said : `${said} ${JSON.stringify(value)}`;
  const text = printable(whole.length <= room || value === null ? whole : `${said} ${shortJson(value)}`);
  const fitted = text.length > room ? `${text.slice(0, room - 1)}…` : text.padEnd(room);
  const seal = signature === '' ? 'not signed' : `signed ${signature.slice(0, 8)}…`;
  return `${INDENT}${paint(out, 'cyan', arrow)} ${fitted} ${paint(out, 'dim', seal)}`;
}

/** Inner objects are left out, and the ends of long texts. */
function shortJson(value: object): string {
  const text = JSON.stringify(value, (name, inner: unknown) => {
    if (typeof inner === 'string' && inner.length > 16) return `${inner.slice(0, 12)}…`;
    return name !== '' && isObject(inner) ? '{…}' : inner;
  });
  return text.replaceAll('"{…}"', '{…}');
}

function progressOf({ result }: ResponseMessage): JobProgress | null {
  const progress = result?.['progress'];
  // The server holds progress to this shape (docs/protocol.md §6).
  return isObject(progress) ? (progress as unknown as JobProgress) : null;
}
