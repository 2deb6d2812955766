import type { Command } from 'commander';
import type { ToolInfo } from '../../client/index.ts';
import { isObject } from '../../wire/index.ts';
import { Failure } from '../exits.ts';
import { addClientFlags, type ClientFlags } from '../options.ts';
import { print, printable, table } from '../output.ts';
import { addVerb } from '../verb.ts';

export function addTools(program: Command): void {
  const command = addVerb(program, 'tools', {
    summary: 'List the tools of a server; with a name, one tool and its schemas.',
    examples: ['tools --credential alice.json', 'tools batch_sum --credential alice.json'],
  }).argument('[name]', 'show this tool with the JSON Schema of what it takes and gives');
  addClientFlags(command).action(tools);
}

async function tools(name: string | undefined, flags: ClientFlags): Promise<void> {
  const { connect } = await import('../client.ts');
  const found = await connect(flags).tools();
  if (name === undefined) return print({ tools: found }, flags.json, table(found.map(row)));
  const tool = found.find((each) => each.name === name);
  if (tool !== undefined) return print(tool, flags.json);
  const message = `the server has no tool ${name}; it has ${found.map((each) => each.name).join(', ')}`;
  throw new Failure('refused', 'unknown_tool', message);
}

function row({ name, job, description, input_schema }: ToolInfo): string[] {
  return [printable(name), job ? 'job' : 'direct', signatureOf(input_schema), printable(description)];
}

/** `{numbers, unit?}`: what a tool takes, at a glance. */
function signatureOf({ properties, required }: ToolInfo['input_schema']): string {
  const must: readonly unknown[] = Array.isArray(required) ? required : [];
  const names = Object.keys(isObject(properties) ? properties : {});
  return printable(`{${names.map((name) => (must.includes(name) ? name : `${name}?`)).join(', ')}}`);
}
