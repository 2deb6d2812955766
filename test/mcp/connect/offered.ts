import type { Backend, ToolInfo } from '../../../src/mcp/backend.ts';
import { generateSecret } from '../../../src/wire/index.ts';

export const credential = {
  client_id: 'alice',
  server_id: 'srv-1',
  url: 'http://127.0.0.1:9/call',
  request_key: generateSecret(),
  response_key: generateSecret(),
};

/** A tool as a server offers it. */
export function offered(name: string, members: Partial<ToolInfo> = {}): ToolInfo {
  return {
    name,
    description: `The tool ${name}.`,
    annotations: { readOnlyHint: true },
    inputSchema: { type: 'object', properties: { numbers: { type: 'array', minItems: 1 } } },
    outputSchema: { type: 'object' },
    job: false,
    taskSupport: 'optional',
    asks: {},
    ...members,
  };
}

export interface Offer extends Backend {
  /** What it has now, or why it has nothing. */
  now: readonly ToolInfo[] | Error;
  /** How often the tools were asked for. */
  asked: number;
  /** Tools that were called. */
  readonly called: string[];
}

/** A backend whose tools change as the test likes. */
export function createOffer(...tools: readonly ToolInfo[]): Offer {
  const unused = () => Promise.reject(new Error('not asked for here'));
  const offer: Offer = {
    name: 'srv-1',
    now: tools,
    asked: 0,
    called: [],
    async tools() {
      offer.asked++;
      if (offer.now instanceof Error) throw offer.now;
      return offer.now;
    },
    async call({ tool }) {
      offer.called.push(tool);
      return { kind: 'result', result: {} };
    },
    job: unused,
    cancel: unused,
    answer: unused,
  };
  return offer;
}
