import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupError } from '../errors/index.ts';
import { BUILT_IN_NAMES } from '../server/built-in/names.ts';
import { isTool, type Tool } from '../tools/index.ts';

/** Names that a module may import wherever it lies on disk: this very package. */
const OWN_NAMES = ['waybill', 'waybill/client', 'waybill/server'];

/**
 * The tools that a module (JavaScript or TypeScript) default-exports: an array of them, or one.
 *
 * @throws SetupError that says what is wrong with the module
 */
export async function loadTools(path: string): Promise<readonly Tool[]> {
  const file = isAbsolute(path) ? path : resolve(path);
  if (!existsSync(file))
    throw new SetupError(`there is no module ${path}: name a JavaScript or TypeScript file`);
  const exported = await importDefault(file, path);
  const tools: readonly unknown[] = Array.isArray(exported) ? exported : [exported];
  if (tools.length === 0 || !tools.every(isTool)) {
    throw new SetupError(
      `module ${path} must default-export what defineTool returns: end it with "export default [yourTool]"`,
    );
  }
  refuseNames(tools, path);
  return tools;
}

async function importDefault(file: string, path: string): Promise<unknown> {
  const { createJiti } = await import('jiti');
  const virtualModules = await modulesFor(file);
  // No cache on disk: a module may hold secrets, and a folder for temporary files is everybody's.
  const jiti = createJiti(import.meta.url, { fsCache: false, interopDefault: false, virtualModules });
  try {
    return await jiti.import(pathToFileURL(file).href, { default: true });
  } catch (error) {
    // The second line tells the place of an error of syntax.
    const reason = (error instanceof Error ? error.message : String(error)).split('\n', 2).join(' ');
    throw new SetupError(`module ${path} cannot be loaded: ${reason}`, { cause: error });
  }
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
