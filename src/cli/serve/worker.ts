import type { Command } from 'commander';
import { NEEDS_POSTGRES } from '../../jobs/engine-urls.ts';
import { type EngineFlags, engineOptions, type Place, placeMembers, placeText } from '../store/place.ts';
import {
  addQueueOptions,
  addStoreOptions,
  auditOption,
  concurrencyOption,
  engineUrls,
} from '../store/options.ts';
import { masterKeyOf, masterKeyOption } from '../store/master-key.ts';
import { drainOption, jsonOption, serverIdOption } from '../options.ts';
import { print } from '../output.ts';
import { drain, endSignal, loadService } from './service.ts';
import { addVerb } from '../verb.ts';

interface WorkerFlags extends EngineFlags {
  readonly json?: true;
}

export function addWorker(program: Command): void {
  const command = addVerb(program, 'worker', {
    summary: 'Run the jobs that servers accept, in a process of its own.',
    detail:
      'Needs the PostgreSQL store and the queue of the servers, and the same module. The log goes to stderr, as JSON ' +
      'lines. SIGTERM and Ctrl-C end the worker: jobs that run may end within --drain-ms, after that they ' +
      'go back to the queue; a second signal does not wait.',
    examples: [
      'worker ./tools.ts --store-file store.url --queue redis://127.0.0.1:6379',
      'worker ./tools.ts --store-file store.url --concurrency 8',
    ],
  })
    .argument('[module]', 'file with tools')
    .addOption(serverIdOption())
    .addOption(masterKeyOption());
  addQueueOptions(addStoreOptions(command, 'postgres://…, the store of the servers'))
    .addOption(auditOption())
    .addOption(concurrencyOption())
    .addOption(drainOption())
    .addOption(jsonOption())
    .action((module: string | undefined, flags: WorkerFlags) => {
      const urls = engineUrls(command);
      if (urls.kind === 'sqlite') command.error(`worker ${NEEDS_POSTGRES}`);
      return work(module, { urls, ...masterKeyOf(command) }, flags);
    });
}

async function work(module: string | undefined, place: Place, flags: WorkerFlags): Promise<void> {
  const { concurrency, json } = flags;
  const { urls } = place;
  const { tools, transports, log } = await loadService(module, json === true);
  const worker = await transports.createWorker({ ...engineOptions(place, flags), tools, log });
  const ended = endSignal();
  const names = tools.map(({ name }) => name);
  const text = `working for server id ${worker.serverId}, ${placeText(urls)}, ${concurrency} jobs at once: ${names.join(', ')}`;
  print({ server_id: worker.serverId, ...placeMembers(urls), tools: names, concurrency }, json, text);
  await drain(log, await ended, [[worker, 'every job has ended or is back in the queue']]);
}
