import type { Command } from 'commander';
import { addClientsAdd } from './clients-add.ts';
import { addClientsList, addClientsShow } from './clients-list.ts';
import { addClientsRevoke } from './clients-revoke.ts';
import { addClientsRotate } from './clients-rotate.ts';
import { addClientsSet } from './clients-set.ts';
import { addClientsToken } from './clients-token.ts';
import { addVerb } from './verb.ts';

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
