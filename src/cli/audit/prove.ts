import { type Command, Option } from 'commander';
import type { FoundCall, Proof } from '../../audit/index.ts';
import { brokenAudit, checkKey, keyOption, keyText, openBundle } from './bundle.ts';
import { MESSAGE_LIMITS } from '../../limits.ts';
import { Failure } from '../exits.ts';
import { filled, jsonOption } from '../options.ts';
import { readTextFile } from '../read-file.ts';
import { dateText, print, printable } from '../output.ts';
import { addRequiredOption, addVerb } from '../verb.ts';

interface ProveFlags {
  readonly reply: string;
  readonly request?: string;
  readonly key?: string;
  readonly json?: true;
}

export function addAuditProve(group: Command): void {
  const reply = new Option(
    '--reply <file>',
    'the reply as it came, as "waybill call --save-reply" keeps it',
  ).argParser(filled);
  const command = addVerb(group, 'prove', {
    summary: 'Prove from your own copy of a reply that its call is in an exported audit.',
    detail:
      'The whole bundle is verified for it. With --request also that it was the answer to this request: the record ' +
      'has the digests of both.',
    examples: [
      'audit prove audit.jsonl --reply reply.json',
      'audit prove audit.jsonl --reply reply.json --request request.json --key wbp_…',
    ],
  }).argument('<path>', 'bundle that "waybill audit export" wrote');
  addRequiredOption(command, reply)
    .addOption(new Option('--request <file>', 'the request as it was sent').argParser(filled))
    .addOption(keyOption())
    .addOption(jsonOption())
    .action(proveCall);
}

async function proveCall(path: string, flags: ProveFlags): Promise<void> {
  const { reply, request, json } = flags;
  const { maxMessageBytes } = MESSAGE_LIMITS;
  const key = await checkKey(flags.key);
  const texts = {
    reply: readTextFile(reply, 'reply file', maxMessageBytes),
    ...(request !== undefined && { request: readTextFile(request, 'request file', maxMessageBytes) }),
  };
  const { source: bundle } = await openBundle(path);
  const { prove } = await import('../../audit/index.ts');
  const proof = await prove({ bundle, ...key, ...texts });
  if (proof.result !== 'proven') throw refusal(proof, path, flags);
  const { call } = proof;
  const text = `${callText(call, path)}\n${keyText(proof.key, flags.key !== undefined)}`;
  print({ ...documentOf(call), key: proof.key }, json, text);
}

function refusal(proof: Exclude<Proof, { result: 'proven' }>, path: string, flags: ProveFlags): Failure {
  if (proof.result === 'broken') return brokenAudit(proof.finding, path);
  if (proof.result === 'not_a_message') {
    const { which, reason } = proof;
    const what = `${which} file ${flags[which] ?? ''} is not a ${which} of the protocol (${reason})`;
    return new Failure('wrongUse', 'setup', `${what}: keep it as it went over the wire`);
  }
  if (proof.result === 'not_found') {
    const message = `${path} holds, and none of its ${proof.records} records is of a call with this reply`;
    return new Failure('refused', 'not_in_audit', message);
  }
  const { call } = proof;
  const message = `the reply is in ${path} (${recordName(call)}), as the answer to another request than ${flags.request ?? ''}`;
  return new Failure('refused', 'not_in_audit', message, { result: documentOf(call) });
}

const recordName = ({ chain, seq }: FoundCall): string => `chain ${chain}, record ${seq}`;

function callText(call: FoundCall, path: string): string {
  const { ms, client, requestId, tool, outcome, job, head } = call;
  const covered =
    head === null
      ? 'covered by the signature of the bundle'
      : `covered by the signed head ${head.seq} of ${dateText(head.ms)}`;
  const what = [
    `client ${client}`,
    `tool ${tool}`,
    `outcome ${outcome}`,
    ...(job === null ? [] : [`job ${job}`]),
  ];
  const lines = [
    `the call is in ${path}: ${recordName(call)}, ${covered}`,
    `${dateText(ms)}: ${what.join(', ')}, request_id ${requestId}`,
  ];
  return lines.map(printable).join('\n');
}

function documentOf({ chain, seq, ms, client, requestId, tool, outcome, job, request, head }: FoundCall) {
  const signed =
    head === null ? null : { seq: head.seq, ms: head.ms, hash: head.hash, signature: head.signature };
  return { chain, seq, ms, client, request_id: requestId, tool, outcome, job, request, head: signed };
}
