import { type Command, InvalidArgumentError, Option } from 'commander';
import { MCP_LIMITS } from '../../limits.ts';
import type { McpOptions } from '../../mcp/options.ts';
import { clientId, integer } from '../options.ts';
import { isLoopback } from './tls-options.ts';

/** How the verbs that speak the Model Context Protocol are told to. */

export interface McpFlags {
  readonly mcpAnonymous?: string;
  readonly mcpHost?: readonly string[];
  readonly mcpWaitMs: number;
}

export function addMcpOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--mcp-anonymous <client-id>',
        'on /mcp, who has no token acts as this client; loopback only',
      )
        .env('WAYBILL_MCP_ANONYMOUS')
        .argParser(clientId),
    )
    .addOption(
      new Option('--mcp-host <name>', 'on /mcp, another name for Host and Origin; may be repeated')
        .env('WAYBILL_MCP_HOST')
        .argParser(collectHost),
    )
    .addOption(waitMsOption('--mcp-wait-ms', 'WAYBILL_MCP_WAIT_MS'));
}

export const waitMsOption = (flag: string, variable: string): Option =>
  new Option(`${flag} <number>`, 'time that a call to a job waits for hosts without Tasks')
    .env(variable)
    .default(MCP_LIMITS.waitMs)
    .argParser((text) => integer(text, 0, MCP_LIMITS.maxWaitMs));

/** @throws Failure when strangers could act as a client */
export function mcpOptions(
  command: Command,
  { host, mcpAnonymous, mcpHost, mcpWaitMs }: McpFlags & { readonly host: string },
): McpOptions {
  if (mcpAnonymous !== undefined && !isLoopback(host))
    command.error(`--mcp-anonymous lets everybody in who reaches ${host}: it is for a loopback --host only`);
  return {
    waitMs: mcpWaitMs,
    ...(mcpAnonymous !== undefined && { anonymous: mcpAnonymous }),
    ...(mcpHost !== undefined && { hosts: mcpHost }),
  };
}

function hostName(text: string): string {
  if (!/^[A-Za-z0-9.-]+$|^\[[0-9a-fA-F:]+\]$/.test(text))
    throw new InvalidArgumentError('It must be a name without a port.');
  return text;
}

/** Given several times, each adds; a variable holds all, with commas. */
function collectHost(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), ...text.split(',').map(hostName)];
}
