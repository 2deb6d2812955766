import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const url = process.env.MCP_URL ?? 'http://127.0.0.1:8080/mcp';
const authorization = `Bearer ${readFileSync('alice.token', 'utf8').trim()}`;
const clientInfo = { name: 'example', version: '1.0.0' };

// The official client: finds out what the server speaks, and calls a direct tool.
const requestInit = { headers: { authorization } };
const client = new Client(clientInfo, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const call = { name: 'count_readers', arguments: { list: 'gardeners' } };
const { structuredContent } = await client.callTool(call);
console.log(client.getNegotiatedProtocolVersion(), call.name, structuredContent);
await client.close();

// It does not drive tasks: from here on the protocol itself, one POST for each step.
const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': clientInfo,
  'io.modelcontextprotocol/clientCapabilities': { extensions: { 'io.modelcontextprotocol/tasks': {} } },
};

/**
 * @typedef {{ taskId: string, status: string, statusMessage?: string, pollIntervalMs: number,
 *   inputRequests?: { [key: string]: { params: { message: string } } },
 *   result?: { structuredContent: object }, error?: object }} Task
 */

/** @param {string} method @param {string} name of the tool or task @param {object} params @returns {Promise<Task>} */
async function ask(method, name, params) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      authorization,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': name,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { _meta: meta, ...params } }),
  });
  const answer = /** @type {{ result: Task, error?: { code: number, message: string } }} */ (
    await response.json()
  );
  const { result, error } = answer;
  if (error !== undefined) throw new Error(`${method}: ${error.code} ${error.message}`);
  return result;
}

const newsletter = { list: 'gardeners', subject: 'Spring' };
let task = await ask('tools/call', 'send_newsletter', { name: 'send_newsletter', arguments: newsletter });
const { taskId } = task;
console.log(`task ${taskId}`);
let told = '';
while (task.status === 'working' || task.status === 'input_required') {
  await sleep(task.pollIntervalMs);
  task = await ask('tasks/get', taskId, { taskId });
  const { status, statusMessage = '', inputRequests = {} } = task;
  for (const [key, { params }] of Object.entries(inputRequests)) {
    console.log(`${status}: ${params.message}`);
    // A host shows a form here, and sends what its person says.
    const inputResponses = { [key]: { action: 'accept', content: { sure: true } } };
    await ask('tasks/update', taskId, { taskId, inputResponses });
  }
  if (status === 'working' && statusMessage !== told) console.log(`${status}: ${statusMessage}`);
  told = statusMessage;
}
console.log(task.status, task.result?.structuredContent ?? task.error);
