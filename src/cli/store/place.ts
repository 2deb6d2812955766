import type { Command } from 'commander';
import { type EngineUrls, publicUrls } from '../../jobs/engine-urls.ts';
import { type MasterKey, masterKeyOf, masterKeyOption } from './master-key.ts';
import { addStoreOptions, dataOption, engineUrls } from './options.ts';

/** Where the records are, and what opens the secrets among them. */
export interface Place extends MasterKey {
  readonly urls: EngineUrls;
}

export function addPlaceOptions(command: Command): Command {
  return addStoreOptions(command.addOption(dataOption())).addOption(masterKeyOption());
}

/** @throws Failure, SetupError */
export function placeOf(command: Command): Place {
  return { urls: engineUrls(command), ...masterKeyOf(command) };
}

/** What every verb that opens an engine is told beside its place. */
export interface EngineFlags {
  readonly serverId?: string;
  readonly concurrency: number;
  readonly allowVolatileQueue?: true;
  readonly audit: boolean;
  readonly drainMs: number;
}

/** The same as `createServer` and `createWorker` take it. */
export function engineOptions(
  { urls, ...master }: Place,
  { serverId, concurrency, allowVolatileQueue, audit, drainMs }: EngineFlags,
) {
  return {
    ...(urls.kind === 'sqlite' ? { store: `sqlite:${urls.dir}` } : { store: urls.store, queue: urls.queue }),
    ...master,
    ...(serverId !== undefined && { serverId }),
    concurrency,
    allowVolatileQueue: allowVolatileQueue === true,
    audit,
    drainMs,
  };
}

/** Where it is, as members of a document; nothing secret. */
export function placeMembers(urls: EngineUrls): { data?: string; store: string; queue: string } {
  return { ...(urls.kind === 'sqlite' && { data: urls.dir }), ...publicUrls(urls) };
}

/** The same for a person. */
export function placeText(urls: EngineUrls): string {
  const { data, store, queue } = placeMembers(urls);
  if (data !== undefined) return `data ${data}`;
  return queue === store ? `store ${store}` : `store ${store}, queue ${queue}`;
}
