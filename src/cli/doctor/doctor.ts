import type { Command } from 'commander';
import type { Explained } from './explain.ts';
import type { Exit } from '../exits.ts';
import {
  type ClientFlags,
  credentialOption,
  jsonOption,
  serverUrlOption,
  timeoutOption,
} from '../options.ts';
import { addPlaceOptions, type Place, placeOf } from '../store/place.ts';
import { type Line, show } from './screen.ts';
import { interruptible } from '../signals.ts';
import { addVerb } from '../verb.ts';

export function addDoctor(program: Command): void {
  const command = addVerb(program, 'doctor', {
    summary:
      'Check what a credential can do, or the store of a server: one line for each thing that could be wrong.',
    detail:
      'With --credential it asks the server a few signed calls that run nothing; of one call in particular ' +
      '"waybill call --explain" tells more. With --data or --store it looks at the records of a server, which ' +
      'may be running.',
    examples: [
      'doctor --credential alice.json',
      'doctor --credential alice.json --json',
      'doctor --data .waybill',
    ],
  })
    .addOption(credentialOption())
    .addOption(serverUrlOption())
    .addOption(timeoutOption());
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action((flags: Partial<ClientFlags>) => {
      const { credential } = flags;
      return isOfStore(command) || credential === undefined
        ? doctorOfStore(placeOf(command), flags.json)
        : doctorOfClient({ ...flags, credential });
    });
}

/** Is it the store that is to be looked at? A flag wins over the variables. */
function isOfStore(command: Command): boolean {
  const places = ['data', 'store', 'storeFile'];
  const isFrom = (source: string) => (name: string) => command.getOptionValueSource(name) === source;
  const [flag, variable] = [places.some(isFrom('cli')), places.some(isFrom('env'))];
  if (isFrom('cli')('credential') && flag)
    command.error('a credential and a store are both named: name one of the two');
  if (isFrom('cli')('credential') || flag) return flag;
  if (isFrom('env')('credential') || variable) return !isFrom('env')('credential');
  return command.error('name --credential of a client, or --data or --store of a server');
}

async function doctorOfStore(place: Place, json: true | undefined): Promise<void> {
  const { storeLines } = await import('./store.ts');
  const lines = await storeLines(place);
  const exit = lines.some(({ state }) => state === 'refused') ? 'wrongUse' : 'ok';
  conclude(lines, { good: 'the store is in order', exit, error: null, json });
}

async function doctorOfClient(flags: ClientFlags): Promise<void> {
  const { examineClient } = await import('./client.ts');
  const { lines, refusedBy, error, exit } = await interruptible(
    () => 'nothing was run',
    (signal) => examineClient(flags, signal),
  );
  const otherwise: Exit = lines.some(({ state }) => state === 'refused') ? 'refused' : 'ok';
  const how = refusedBy === null ? otherwise : exit;
  conclude(lines, { good: 'calls with this credential are taken', exit: how, error, json: flags.json });
}

interface Conclusion {
  /** What is said if nothing is to mend. */
  readonly good: string;
  readonly exit: Exit;
  readonly error: Explained['error'];
  readonly json: true | undefined;
}

function conclude(lines: readonly Line[], { good, exit, error, json }: Conclusion): void {
  const names = (state: Line['state']) =>
    lines
      .filter((each) => each.state === state)
      .map(({ step }) => step)
      .join(', ');
  const [wrong, warnings] = [names('refused'), names('warning')];
  const verdict = `${wrong === '' ? good : `to mend: ${wrong}`}${warnings === '' ? '' : `; to look at: ${warnings}`}`;
  show(lines, verdict, { ok: exit === 'ok', error, checks: lines }, { json, exit });
}
