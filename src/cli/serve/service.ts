import { Console } from 'node:console';
import type { Tool } from '../../tools/index.ts';
import { isDebug } from '../output.ts';
import { type EndSignal, onFirstSignal } from '../signals.ts';

/** What the verbs that run until somebody ends them have in common. */

/** The tools of a module, and what is needed to serve them; from here on stdout is ours alone. */
export async function loadService(module: string | undefined, json: boolean) {
  const [{ loadTools }, service] = await Promise.all([import('./load-tools.ts'), openService()]);
  const tools = await (module === undefined ? exampleTools() : loadTools(module, json));
  return { tools, ...service };
}

/** What is needed to serve tools, wherever they are from. */
export async function openService() {
  const [transports, { pino, destination, stdTimeFunctions }] = await Promise.all([
    import('../../transports/index.ts'),
    import('pino'),
  ]);
  // What a module logs would stand between the messages of --stdio and beside the document of --json.
  globalThis.console = new Console(process.stderr, process.stderr);
  // Written at once: the last lines before a crash are those that matter.
  const log = pino(
    {
      base: null,
      messageKey: 'message',
      level: isDebug() ? 'debug' : 'info',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    destination({ fd: 2, sync: true }),
  );
  return { transports, log };
}

async function exampleTools(): Promise<readonly Tool[]> {
  return (await import('./example-tools.ts')).default;
}

export type Service = Awaited<ReturnType<typeof openService>>;

type Log = Service['log'];

/** Resolves at the first SIGTERM or Ctrl-C; a second one ends the process at once. */
export function endSignal(): Promise<EndSignal> {
  return new Promise((resolve) => onFirstSignal(['SIGINT', 'SIGTERM'], resolve));
}

/** Closes each part, says what has ended when it has, and ends the process. */
export async function drain(log: Log, why: string, parts: readonly (readonly [Closable, string])[]) {
  const startMs = performance.now();
  log.info({ why }, 'draining: calls and jobs that run may end; a second signal does not wait');
  await Promise.all(parts.map(([part, said]) => part.close().then(() => log.info({}, said))));
  log.info({ took_ms: Math.round(performance.now() - startMs) }, 'stopped');
  // A module may hold timers and connections of its own.
  process.exit(0);
}

interface Closable {
  close(): Promise<void>;
}
