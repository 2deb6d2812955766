import { ProtocolError, SetupError } from '../../errors/index.ts';
import { CONNECT_LIMITS } from '../../limits.ts';
import type { Backend, ToolInfo } from '../backend.ts';
import type { Approvals } from './approvals.ts';
import { definitionsOf } from './definition.ts';
import { diff, type ToolChange } from './diff.ts';

/** What {@link holdBack} tells whoever runs it. */
export interface Watcher {
  /** The first connect: these are trusted as they are. */
  onTrust(tools: readonly ToolInfo[]): void;
  /** Other changes than were told before; none: all that is offered is approved now. */
  onChange(changes: readonly ToolChange[]): void;
  /** The file of approvals cannot be used any more: nothing is listed. */
  onProblem(error: SetupError): void;
}

/** What of a server is shown. */
interface Shown {
  readonly tools: readonly ToolInfo[];
  readonly held: ReadonlyMap<string, ToolChange['kind']>;
}

/**
 * A backend of which only those tools are seen whose definitions were approved; the first that are ever seen
 * count as approved. A tool that is new or has changed is not listed, and its calls are refused.
 *
 * @param nowMs a clock that only rises
 */
export function holdBack(
  backend: Backend,
  approvals: Approvals,
  watcher: Watcher,
  nowMs: () => number = () => performance.now(),
): Backend {
  const offer = createOffer(backend, nowMs);
  let judged: readonly ToolInfo[] | null = null;
  let shown: Shown = { tools: [], held: new Map() };
  let told = '[]';

  async function look(): Promise<Shown> {
    const tools = await offer.tools();
    // What is held back may have been approved meanwhile, by another process.
    if (tools === judged && shown.held.size === 0) return shown;
    const changes = changesOf(tools);
    const held = new Map(
      changes.filter(({ kind }) => kind !== 'removed').map(({ tool, kind }) => [tool, kind]),
    );
    const text = JSON.stringify(changes);
    // The same list for the same tools: what is made of it is kept by whoever asks.
    if (tools !== judged || text !== told)
      shown = { tools: tools.filter(({ name }) => !held.has(name)), held };
    judged = tools;
    if (text !== told) watcher.onChange(changes);
    told = text;
    return shown;
  }

  function changesOf(tools: readonly ToolInfo[]): readonly ToolChange[] {
    const offered = definitionsOf(tools);
    try {
      const approved = approvals.read();
      if (approved !== null) return diff(approved, offered);
      approvals.write(offered);
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      watcher.onProblem(error);
      throw new ProtocolError('forbidden', 'the file of approved tools cannot be used (the log says why)');
    }
    watcher.onTrust(tools);
    return [];
  }

  function refusalOf(tool: string): ProtocolError | null {
    const kind = shown.held.get(tool);
    return kind === undefined ? null : heldBack(tool, kind);
  }

  return {
    ...backend,
    tools: async () => (await look()).tools,
    whyNot: refusalOf,
    async call(call, watch) {
      await look();
      const refusal = refusalOf(call.tool);
      if (refusal !== null) throw refusal;
      try {
        return await backend.call(call, watch);
      } catch (error) {
        if (error instanceof ProtocolError && error.code === 'unknown_tool') offer.forget();
        throw error;
      }
    },
  };
}

/** The list of the server: asked for once by all who want it at the same time, and kept for a while. */
function createOffer(backend: Backend, nowMs: () => number) {
  let list: Promise<readonly ToolInfo[]> | null = null;
  let askedMs = 0;
  return {
    tools(): Promise<readonly ToolInfo[]> {
      if (list !== null && nowMs() - askedMs < CONNECT_LIMITS.refreshMs) return list;
      askedMs = nowMs();
      const asked = backend.tools();
      list = asked;
      asked.catch(() => {
        if (list === asked) list = null;
      });
      return asked;
    },
    forget() {
      list = null;
    },
  };
}

function heldBack(tool: string, kind: ToolChange['kind']): ProtocolError {
  const what = kind === 'new' ? 'is new' : 'has changed';
  return new ProtocolError(
    'forbidden',
    `${tool} ${what} since the tools of this server were approved, and is held back; ` +
      'a person can look at it and approve it with: waybill connect --accept-changes',
  );
}
