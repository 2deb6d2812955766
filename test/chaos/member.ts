import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { gate } from '../support/gate.ts';
import type { Journal } from './journal.ts';

/** One `waybill serve` or `waybill worker`; started again whenever it ends. */
export interface Member {
  readonly name: string;
  /** Does it run jobs? */
  readonly works: boolean;
  /** Has it said that it is ready, and not ended since? A frozen one counts. */
  readonly isServing: boolean;
  readonly isFrozen: boolean;
  /** `null` between two starts. */
  readonly pid: number | null;
  /** SIGKILL; resolves when it has ended. Then it is started again. */
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
}

export interface Replica extends Member {
  readonly url: string;
}

export interface MemberOptions {
  readonly name: string;
  readonly works: boolean;
  /** Starts it; its first line on stdout is a JSON document that says that it is ready, or why not. */
  readonly run: () => ChildProcess;
  /** Called when its process has become another one. */
  readonly hold: () => void;
  readonly logFile: string;
  readonly journal: Journal;
  /** For how long no service has been down or frozen: otherwise a start may fail. */
  readonly calmForMs: () => number;
}

/** Before it is started again, as a supervisor does. */
const RESTART_MS = 300;

/** Looks after one of them. An end that nobody asked for is a violation. */
export class Supervised implements Replica {
  readonly name: string;
  readonly works: boolean;
  url = '';
  isServing = false;
  isFrozen = false;
  /** Resolves when it has first said that it is ready. @throws when it ends before that */
  readonly ready: Promise<void>;
  readonly #options: MemberOptions;
  readonly #first = gate<string | null>();
  readonly #over: Promise<void>;
  #child: ChildProcess | null = null;
  #said = '';
  #isKilled = false;
  #stopped = false;

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.works = options.works;
    this.#options = options;
    this.ready = this.#first.opened.then((trouble) => {
      if (trouble !== null) throw new Error(trouble);
    });
    this.#over = this.#liveOn();
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  async kill(): Promise<void> {
    this.#isKilled = true;
    // By the time that clients find out, its port may be somebody else's.
    this.isServing = false;
    const ended = this.#child === null ? null : once(this.#child, 'close');
    this.#child?.kill('SIGKILL');
    await ended;
  }

  freeze(): void {
    this.isFrozen = this.#child?.kill('SIGSTOP') === true;
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
    this.isFrozen = false;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#child?.kill('SIGKILL');
    await this.#over;
  }

  async #liveOn(): Promise<void> {
    while (!this.#stopped) {
      await this.#live();
      if (!this.#stopped) await sleep(RESTART_MS);
    }
  }

  async #live(): Promise<void> {
    const { run, hold, logFile, journal } = this.#options;
    const startMs = journal.now();
    this.#isKilled = false;
    this.#said = '';
    const child = run();
    const ended = once(child, 'close');
    this.#child = child;
    hold();
    child.stderr?.pipe(createWriteStream(logFile, { flags: 'a' }));
    if (child.stdout !== null)
      createInterface({ input: child.stdout }).once('line', (line) => this.#listen(line));
    const [code, signal] = await ended;
    const wasServing = this.isServing;
    this.isServing = false;
    this.isFrozen = false;
    this.#child = null;
    hold();
    if (!this.#stopped && !this.#isKilled)
      this.#complain(wasServing, code ?? signal, journal.now() - startMs);
  }

  #listen(line: string): void {
    const said: { server_id?: string; url?: string } = JSON.parse(line);
    this.#said = line;
    // Else it says why it does not start.
    if (said.server_id === undefined || this.#isKilled) return;
    this.url = said.url ?? '';
    this.isServing = true;
    this.#first.open(null);
  }

  #complain(wasServing: boolean, how: string | number, livedMs: number): void {
    const { journal, calmForMs, logFile } = this.#options;
    const what = `${this.name} ended ${wasServing ? 'by itself' : 'at its start'} (${how})`;
    journal.note(what);
    this.#first.open(`${what}:\n${readFileSync(logFile, 'utf8')}`);
    // Where a service is down, a start fails with a line that says so, and is tried again.
    if (!wasServing && how === 2 && calmForMs() < livedMs) journal.count('starts refused');
    else journal.violate(what, { requestId: this.name, jobId: null, lines: [`it said: ${this.#said}`] });
  }
}
