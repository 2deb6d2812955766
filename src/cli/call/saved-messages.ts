import { closeSync, rmSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { Transport } from '../../client/index.ts';
import { createNewFile, writeWhole } from '../new-file.ts';
import { filled } from '../options.ts';

/** Messages kept as they went over the wire: with its reply a client can prove its call (`waybill audit prove`). */

export interface SaveFlags {
  readonly saveReply?: string;
  readonly saveRequest?: string;
}

export function addSaveOptions(command: Command): Command {
  const option = (name: string, what: string) => new Option(`--save-${name} <file>`, what).argParser(filled);
  return command
    .addOption(option('reply', 'keep the last reply, as it came, in a new file: for "waybill audit prove"'))
    .addOption(option('request', 'keep the request that it answers, as it was sent, in a new file'));
}

/** Puts itself between a client and its transport. */
export type Tap = (transport: Transport) => Transport;

interface Files {
  readonly path: string;
  readonly file: number;
}

/**
 * Runs work that exchanges messages, and keeps the last reply with its request, whatever the work comes to: a refusal
 * can be proven too. The files are made first, so that no call is made that could not be kept; without a reply they
 * are taken away again.
 *
 * @throws SetupError when a file cannot be made, or exists already; and what `work` throws
 */
export async function savingMessages<T>(flags: SaveFlags, work: (tap: Tap) => Promise<T>): Promise<T> {
  const reply = create(flags.saveReply);
  let request: Files | null = null;
  const last: { request?: Uint8Array; reply?: Uint8Array } = {};
  const tap: Tap = (transport) => async (bytes, options) => {
    const back = await transport(bytes, options);
    Object.assign(last, { request: bytes, reply: back });
    return back;
  };
  try {
    request = create(flags.saveRequest);
    return await work(tap);
  } finally {
    keep(reply, last.reply);
    keep(request, last.request);
  }
}

function create(path: string | undefined): Files | null {
  return path === undefined ? null : { path, file: createNewFile(path) };
}

function keep(files: Files | null, bytes: Uint8Array | undefined): void {
  if (files === null) return;
  const { path, file } = files;
  try {
    if (bytes === undefined) rmSync(path, { force: true });
    else writeWhole(path, file, bytes);
  } finally {
    closeSync(file);
  }
}
