import type { Command } from 'commander';
import { signAudit } from './store.ts';
import { addPlaceOptions, placeOf } from '../store/place.ts';
import { jsonOption } from '../options.ts';
import { print } from '../output.ts';
import { addVerb } from '../verb.ts';

interface KeyFlags {
  readonly json?: true;
}

export function addAuditKey(group: Command): void {
  const command = addVerb(group, 'key', {
    summary: 'Print the public key that the audit is signed with.',
    detail:
      'It is no secret: give it to whoever verifies exports. It follows from the master key, so that all servers ' +
      'and workers of a store have the same.',
    examples: ['audit key', 'audit key --store-file store.url --master-key-file master.key'],
  });
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action(({ json }: KeyFlags) =>
      signAudit(placeOf(command), async ({ serverId }, master) => {
        const { auditKeys } = await import('../../audit/keys.ts');
        const { publicText } = auditKeys(master);
        print({ server_id: serverId, key: publicText }, json, publicText);
      }),
    );
}
