import type { Command } from 'commander';
import { addAuditExport } from './export.ts';
import { addAuditKey } from './key.ts';
import { addAuditProve } from './prove.ts';
import { addAuditTail } from './tail.ts';
import { addAuditVerify } from './verify.ts';
import { addVerb } from '../verb.ts';

export function addAudit(program: Command): void {
  const group = addVerb(program, 'audit', {
    summary: 'Read, export and verify the record of every call and every change of a job.',
    examples: [
      'audit tail --follow',
      'audit export --out audit.jsonl',
      'audit verify audit.jsonl',
      'audit prove audit.jsonl --reply reply.json',
      'audit key',
    ],
  });
  for (const add of [addAuditTail, addAuditExport, addAuditVerify, addAuditProve, addAuditKey]) add(group);
}
