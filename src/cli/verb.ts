import type { Command, CommanderError, Option } from 'commander';
import { Failure } from './exits.ts';

export interface VerbText {
  readonly summary: string;
  /** Said below the summary; for what an option line cannot say. */
  readonly detail?: string;
  /** Command lines without the leading `waybill`. */
  readonly examples: readonly string[];
}

/** A verb, or a group of them: help with examples, and errors that end in one line. */
export function addVerb(parent: Command, usage: string, { summary, detail, examples }: VerbText): Command {
  const command = parent
    .command(usage)
    .summary(summary)
    .description(detail === undefined ? summary : `${summary}\n\n${detail}`)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ waybill ${line}`).join('\n')}`);
  return endInOneLine(command);
}

/** Not a mandatory option of commander's: that is looked for before options that are unknown. */
export function addRequiredOption(command: Command, option: Option): Command {
  return command.addOption(option).hook('preAction', () => {
    if (command.getOptionValue(option.attributeName()) === undefined)
      command.error(`required option '${option.flags}' not specified`);
  });
}

/** Turns what commander has to say into a failure that names the help to read. */
export function endInOneLine(command: Command): Command {
  return command.configureOutput({ writeErr: () => {} }).exitOverride((error) => {
    if (error.exitCode === 0) throw error;
    throw new Failure('wrongUse', 'usage', `${problemOf(error, command)}; see "${pathOf(command)} --help"`);
  });
}

function problemOf(error: CommanderError, command: Command): string {
  // A group without a verb: commander wants to print its help.
  if (error.code === 'commander.help') {
    const names = command.commands.map((sub) => sub.name()).filter((name) => name !== 'help');
    return `name what to do: ${names.join(', ')}`;
  }
  return error.message
    .replace(/^error: /, '')
    .replace(/^command-argument value ('.*') is invalid for argument '(\w+)'\. It /s, '$2 $1 ')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/[.;]$/, '');
}

/** Like `waybill clients add`. */
function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}
