export { auditJobs } from './audited-jobs.ts';
export { writeBundle } from './bundle.ts';
export { type Chain, openChain } from './chain.ts';
export type { Finding } from './finding.ts';
export { auditKeyOf, auditKeys } from './keys.ts';
export { type AuditLog, openAudit } from './log.ts';
export { type FoundCall, type Proof, prove } from './prove.ts';
export {
  type CallRecord,
  digestOf,
  parseLine,
} from './record.ts';
export {
  type AuditReport,
  bundleFile,
  type BundleSource,
  type Verdict,
  type VerifyOptions,
  verifyBundle,
  verifyStore,
} from './verify.ts';
export type { ChainReport } from './walk.ts';
