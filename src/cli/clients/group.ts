import type { Command } from 'commander';
import { addClientsAdd } from './add.ts';
import { addClientsList, addClientsShow } from './list.ts';
import { addClientsRevoke } from './revoke.ts';
import { addClientsRotate } from './rotate.ts';
import { addClientsSet } from './set.ts';
import { addClientsToken } from './token.ts';
import { addVerb } from '../verb.ts';

export function addClients(program: Command): void {
  const group = addVerb(program, 'clients', {
    summary: 'Look after the clients that a server believes, their keys and tokens; it may be running.',
    examples: ['clients add alice --out alice.json', 'clients list', 'clients rotate alice --out new.json'],
  });
  addClientsAdd(group);
  addClientsList(group);
  addClientsShow(group);
  addClientsSet(group);
  addClientsRotate(group);
  addClientsRevoke(group);
  addClientsToken(group);
}
