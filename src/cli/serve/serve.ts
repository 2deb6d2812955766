import type { Command } from 'commander';
import { loadService } from './service.ts';
import { addServingOptions, type ServingFlags, serveTools, servingPlace } from './serving.ts';
import { addVerb } from '../verb.ts';

export function addServe(program: Command): void {
  const command = addVerb(program, 'serve', {
    summary: 'Serve tools: those of a module, else the example tools.',
    detail:
      'The module (JavaScript or TypeScript) default-exports what defineTool returns, or an array of it. ' +
      'The log goes to stderr, as JSON lines, and so does the console of the module. SIGTERM and Ctrl-C end the server: calls and jobs that run ' +
      'may end within --drain-ms, after that jobs go back to the queue; a second signal does not wait.',
    examples: [
      'serve',
      'serve ./tools.ts --port 9000 --data /var/lib/waybill --server-id billing',
      'serve ./tools.ts --store-file store.url --queue redis://127.0.0.1:6379 --no-worker',
      'serve ./tools.ts --stdio < requests.jsonl',
    ],
  }).argument('[module]', 'file with tools');
  addServingOptions(command).action(async (module: string | undefined, options: ServingFlags) => {
    const place = servingPlace(command, options);
    const { tools, ...service } = await loadService(module, options.json === true);
    return serveTools(service, tools, place, options);
  });
}
