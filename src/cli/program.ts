import { Command } from 'commander';
import { addAudit } from './audit.ts';
import { addCall } from './call.ts';
import { addClients } from './clients.ts';
import { addConnect } from './connect-verb.ts';
import { addDemo } from './demo.ts';
import { addDoctor } from './doctor.ts';
import { addInstall } from './install.ts';
import { addJobs } from './jobs.ts';
import { addKeygen } from './keygen.ts';
import { addMcp } from './mcp.ts';
import { addServe } from './serve.ts';
import { addTools } from './tools.ts';
import { addWorker } from './worker.ts';
import { addWrap } from './wrap.ts';
import { addVerb, endInOneLine } from './verb.ts';
import { packageVersion } from '../version.ts';

/** The command line: every verb with its options. What a verb needs to run is loaded when it runs. */
export function createProgram(): Command {
  const program = new Command('waybill')
    .description('Signed, asynchronous tool calls between AI agents.')
    .version(packageVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', '\nNew here? See the whole protocol at work in a few seconds:\n  $ waybill demo');
  endInOneLine(program);
  for (const add of [
    addDemo,
    addServe,
    addWorker,
    addMcp,
    addWrap,
    addClients,
    addKeygen,
    addAudit,
    addCall,
    addJobs,
    addTools,
    addDoctor,
    addConnect,
    addInstall,
    addHelp,
  ])
    add(program);
  return program;
}

/** Not commander's own: that takes one word and never refuses one. */
function addHelp(program: Command): void {
  addVerb(program, 'help', {
    summary: 'Print the help of a verb.',
    examples: ['help serve', 'help clients add'],
  })
    .argument('[verb...]', 'words of the verb')
    .action((words: readonly string[]) => {
      let command = program;
      for (const word of words) {
        const names = (each: Command) => each.name() === word;
        command = command.commands.find(names) ?? command.error(`unknown command '${word}'`);
      }
      command.help();
    });
}
