import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupError } from '../../errors/index.ts';
import { checkedRules } from '../../mcp/catalog.ts';
import { BUILT_IN_NAMES } from '../../server/built-in/names.ts';
import { isTool, type Tool } from '../../tools/index.ts';
import { failureOf } from '../exits.ts';
import { report } from '../output.ts';

/** Names that a module may import wherever it lies on disk: this very package. */
const OWN_NAMES = ['waybill', 'waybill/client', 'waybill/mcp', 'waybill/server'];

const EXTENSIONS = new Set(['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']);

/**
 * The tools that a module (JavaScript or TypeScript) default-exports: an array of them, or one.
 *
 * @param json how a module is told of that ends the process while it is loaded
 * @throws SetupError that says what is wrong with the module
 */
export async function loadTools(path: string, json: boolean): Promise<readonly Tool[]> {
  const file = isAbsolute(path) ? path : resolve(path);
  refuseFile(file, path);
  const unguard = guard(path, json);
  const exported = await importDefault(file, path).finally(unguard);
  const tools: readonly unknown[] = Array.isArray(exported) ? exported : [exported];
  if (tools.length === 0) {
    throw new SetupError(`module ${path} exports no tool: put what defineTool returns into its array`);
  }
  if (!tools.every(isTool)) {
    throw new SetupError(
      `module ${path} must default-export what defineTool returns: end it with "export default [yourTool]"`,
    );
  }
  refuseNames(tools, path);
  refuseMarks(tools, path);
  return tools;
}

function refuseFile(file: string, path: string): void {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new SetupError(`there is no module ${path}: name a JavaScript or TypeScript file`);
  }
  if (stat.isDirectory()) throw new SetupError(`${path} is a folder: name a JavaScript or TypeScript file`);
  if (!EXTENSIONS.has(extname(file))) {
    throw new SetupError(`module ${path} cannot be loaded: name a .js, .mjs, .cjs or .ts file`);
  }
}

/**
 * A module may end the process before it is loaded, or leave it with nothing to wait for; without
 * this nobody would be told.
 *
 * @returns how to stop looking
 */
function guard(path: string, json: boolean): () => void {
  let idle = false;
  const onIdle = () => {
    idle = true;
  };
  const onExit = () => {
    const problem = idle
      ? 'never finished loading: it awaits something that does not come'
      : 'ended the process while it was loaded: take process.exit out of it';
    process.exitCode = report(failureOf(new SetupError(`module ${path} ${problem}`)), json);
  };
  const unguard = () => {
    process.off('beforeExit', onIdle).off('exit', onExit);
  };
  process.once('beforeExit', onIdle).once('exit', onExit);
  // An error that nobody caught ends the process as well, and is told of where it is caught.
  process.once('uncaughtExceptionMonitor', unguard);
  return () => {
    unguard();
    process.off('uncaughtExceptionMonitor', unguard);
  };
}

async function importDefault(file: string, path: string): Promise<unknown> {
  const { createJiti } = await import('jiti');
  const virtualModules = await modulesFor(file);
  // No cache on disk: a module may hold secrets, and a folder for temporary files is everybody's.
  const jiti = createJiti(import.meta.url, { fsCache: false, interopDefault: false, virtualModules });
  try {
    return await jiti.import(pathToFileURL(file).href, { default: true });
  } catch (error) {
    throw new SetupError(`module ${path} cannot be loaded: ${reasonOf(error)}`, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const missing = /^Cannot find (?:module|package) '([^']+)'/.exec(message)?.[1];
  if (missing !== undefined) {
    const install = /^[./]/.test(missing) ? '' : 'install it beside the module, or ';
    return `cannot find '${missing}': ${install}correct the import`;
  }
  // The second line tells the place of an error of syntax.
  const [what = '', place] = message.split('\n', 2);
  if (place === undefined) return what;
  return /:\d+:\d+$/.test(place) ? `${what} at ${place.trim()}` : `${what} ${place}`;
}

/**
 * The package as it runs here, so that a `ToolError` of the module is ours; and our zod for a module
 * that has none beside it, so that a single file is enough to begin with.
 */
async function modulesFor(file: string): Promise<Record<string, unknown>> {
  const names = canResolve('zod', file) ? OWN_NAMES : [...OWN_NAMES, 'zod'];
  const entries = names.map(async (name) => [name, await import(import.meta.resolve(name))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function canResolve(name: string, from: string): boolean {
  try {
    createRequire(from).resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** Before anything is opened, so that a wrong module changes nothing on disk. */
function refuseNames(tools: readonly Tool[], path: string): void {
  const seen = new Set<string>();
  for (const { name } of tools) {
    if (BUILT_IN_NAMES.has(name)) {
      throw new SetupError(
        `module ${path} has a tool named ${name}, as every server has already: choose another name`,
      );
    }
    if (seen.has(name)) throw new SetupError(`module ${path} has two tools named ${name}: rename one`);
    seen.add(name);
  }
}

/** Likewise what hosts of the Model Context Protocol could not be told of. */
function refuseMarks(tools: readonly Tool[], path: string): void {
  try {
    for (const tool of tools) checkedRules(tool);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SetupError(`module ${path}: ${error.message}`, { cause: error });
  }
}
