import { type Command, Option } from 'commander';
import { type EngineFlags, engineOptions, type Place, placeOf } from '../store/place.ts';
import {
  addQueueOptions,
  addStoreOptions,
  auditOption,
  concurrencyOption,
  dataOption,
} from '../store/options.ts';
import { masterKeyOption } from '../store/master-key.ts';
import { waitMsOption } from './mcp-options.ts';
import { clientId, drainOption, serverIdOption } from '../options.ts';
import { drain, endSignal, loadService } from './service.ts';
import { addVerb } from '../verb.ts';

interface McpVerbFlags extends EngineFlags {
  readonly client: string;
  readonly waitMs: number;
}

/** A host gives a server that it has let go a second or two. */
const DRAIN_MS = 1_000;

export function addMcp(program: Command): void {
  const command = addVerb(program, 'mcp', {
    summary: 'Serve tools to one host of the Model Context Protocol, on stdin and stdout.',
    detail:
      'For a host on this machine that starts its servers itself; the module is that of "waybill serve". Jobs are ' +
      'on disk: one that has not ended when the host lets go runs on at the next start, but for one that a call ' +
      'still waits for, whose id nobody was told. Whoever runs this acts as the client of --client, which is made ' +
      'if it is not there.',
    examples: [
      'mcp',
      'mcp ./tools.ts --data /home/me/.waybill',
      'mcp ./tools.ts --store-file store.url --client me',
    ],
  })
    .argument('[module]', 'file with tools')
    .addOption(
      new Option('--client <id>', 'client whose calls and jobs these are')
        .env('WAYBILL_CLIENT')
        .default('local')
        .argParser(clientId),
    )
    .addOption(waitMsOption('--wait-ms', 'WAYBILL_WAIT_MS'))
    .addOption(serverIdOption())
    .addOption(dataOption())
    .addOption(masterKeyOption());
  addQueueOptions(addStoreOptions(command))
    .addOption(auditOption())
    .addOption(concurrencyOption())
    .addOption(drainOption().default(DRAIN_MS))
    .action((module: string | undefined, flags: McpVerbFlags) => serve(module, placeOf(command), flags));
}

async function serve(module: string | undefined, place: Place, flags: McpVerbFlags): Promise<void> {
  const { stdin: input, stdout: output } = process;
  // The host takes each line for a message, also what a module writes there by itself.
  Object.defineProperty(process, 'stdout', { value: process.stderr });
  const { tools, transports, log } = await loadService(module, false);
  const { serveMcp } = await import('../../mcp/index.ts');
  const { client, waitMs } = flags;
  const server = await transports.createServer({ ...engineOptions(place, flags), tools, log });
  const served = serveMcp(server, { clientId: client, input, output, waitMs });
  const why = await Promise.race([endSignal(), served]);
  await drain(log, why ?? 'end of stdin', [[server, 'every call and job has ended or is back in the queue']]);
}
