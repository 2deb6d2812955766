import { type Command, Option } from 'commander';
import { ClientError, type SetupError } from '../../errors/index.ts';
import type { Backend, ToolInfo } from '../../mcp/backend.ts';
import type { Approvals } from '../../mcp/connect/approvals.ts';
import type { Definitions } from '../../mcp/connect/definition.ts';
import type { ToolChange } from '../../mcp/connect/diff.ts';
import type { Watcher } from '../../mcp/connect/hold-back.ts';
import type { PlacedCredential } from '../../wire/credential.ts';
import { credentialOf } from '../client.ts';
import { waitMsOption } from '../serve/mcp-options.ts';
import { addClientFlags, type ClientFlags } from '../options.ts';
import { note, print, printable, shellWord } from '../output.ts';
import { addVerb } from '../verb.ts';

interface ConnectFlags extends ClientFlags {
  readonly waitMs: number;
  readonly acceptChanges?: true;
}

export function addConnect(program: Command): void {
  const command = addVerb(program, 'connect', {
    summary: 'Serve the tools of a server to a host of the Model Context Protocol, on stdin and stdout.',
    detail:
      'Hosts start this themselves: "waybill install" tells them how. Every reply of the server is verified ' +
      'before the host sees it. The tools are trusted as they are at the first start; one that is new or has ' +
      'changed since then is held back until --accept-changes.',
    examples: [
      'connect --credential alice.json',
      'connect --credential alice.json --accept-changes',
      'connect --credential alice.json --accept-changes --json',
    ],
  })
    .addOption(waitMsOption('--wait-ms', 'WAYBILL_WAIT_MS'))
    .addOption(new Option('--accept-changes', 'show what changed in the tools, approve it, and end'));
  addClientFlags(command).action(async (options: ConnectFlags) => {
    if (options.json && !options.acceptChanges) command.error('--json is for --accept-changes');
    const credential = credentialOf(options);
    const { approvalsOf } = await import('../../mcp/connect/approvals.ts');
    const approvals = approvalsOf(options.credential, credential);
    return options.acceptChanges
      ? accept(credential, approvals, options)
      : serve(credential, approvals, options);
  });
}

async function serve(
  credential: PlacedCredential,
  approvals: Approvals,
  { timeoutMs, waitMs, credential: path }: ConnectFlags,
): Promise<void> {
  const [{ createRemoteBackend }, { holdBack }, { diffLines }, { serveMcpStdio }, { stderrLog: log }] =
    await Promise.all([
      import('../../mcp/remote.ts'),
      import('../../mcp/connect/hold-back.ts'),
      import('../../mcp/connect/diff.ts'),
      import('../../mcp/stdio.ts'),
      import('../../server/log.ts'),
    ]);
  // A file that cannot be believed is told now, not when the host asks.
  approvals.read();
  const remote = createRemoteBackend(credential, {
    timeoutMs,
    onFailure: ({ kind, message }) => log.warn({ kind, url: credential.url }, message),
  });
  const backend = holdBack(remote, approvals, watcherFor(approvals, path, diffLines));
  const { stdin: input, stdout: output } = process;
  await serveMcpStdio(backend, { input, output, waitMs, log });
}

/** Says on stderr, which hosts keep as a log, what a person should know. */
function watcherFor(
  { path }: Approvals,
  credentialPath: string,
  linesOf: (changes: readonly ToolChange[]) => readonly string[],
): Watcher {
  const command = `waybill connect --credential ${shellWord(credentialPath)} --accept-changes`;
  return {
    onTrust(tools) {
      note(`first start: these tools are trusted as they are: ${namesOf(tools)}; written to ${path}`);
    },
    onChange(changes) {
      if (changes.length === 0) return note('every tool of the server is approved');
      note('the tools of the server are not those that were approved:');
      for (const line of linesOf(changes)) note(line);
      note(`what is new or changed is held back; to approve it: ${command}`);
    },
    onProblem: (error: SetupError) => note(printable(error.message)),
  };
}

function namesOf(tools: readonly { readonly name: string }[]): string {
  return tools.length === 0 ? 'none' : tools.map(({ name }) => printable(name)).join(', ');
}

async function accept(
  credential: PlacedCredential,
  approvals: Approvals,
  { timeoutMs, json }: ConnectFlags,
): Promise<void> {
  const [{ createRemoteBackend }, { definitionsOf }, { diff, diffLines }] = await Promise.all([
    import('../../mcp/remote.ts'),
    import('../../mcp/connect/definition.ts'),
    import('../../mcp/connect/diff.ts'),
  ]);
  const approved: Definitions = approvals.read() ?? new Map();
  const offered = definitionsOf(await toolsOf(createRemoteBackend(credential, { timeoutMs })));
  const changes = diff(approved, offered);
  approvals.write(offered);
  const count = `${offered.size} tools are approved, in ${approvals.path}`;
  print(
    { changes, tools: [...offered.keys()], file: approvals.path },
    json,
    [...(changes.length === 0 ? ['nothing has changed'] : diffLines(changes)), count].join('\n'),
  );
}

/** A person at a terminal is told all that is known of a failure. */
async function toolsOf(backend: Backend): Promise<readonly ToolInfo[]> {
  try {
    return await backend.tools();
  } catch (error) {
    throw error instanceof ClientError && error.cause instanceof ClientError ? error.cause : error;
  }
}
