import { Command } from 'commander';
import { addAudit } from './audit/group.ts';
import { addCall } from './call/call.ts';
import { addClients } from './clients/group.ts';
import { addConnect } from './host/connect.ts';
import { addDemo } from './demo/demo.ts';
import { addDoctor } from './doctor/doctor.ts';
import { addInstall } from './host/install.ts';
import { addJobs } from './call/jobs.ts';
import { addKeygen } from './clients/keygen.ts';
import { addMcp } from './serve/mcp.ts';
import { addServe } from './serve/serve.ts';
import { addTools } from './call/tools.ts';
import { addWorker } from './serve/worker.ts';
import { addWrap } from './serve/wrap.ts';
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
