import { JOB_POLICY, JOB_POLICY_BOUNDS, type JobPolicy } from '../limits.ts';

/**
 * A tool's settings for its jobs, checked and completed.
 *
 * @throws TypeError, RangeError
 */
export function resolveJobPolicy(policy: Partial<JobPolicy>, where: string): JobPolicy {
  for (const [name, value] of Object.entries(policy)) {
    if (!isSetting(name)) throw new TypeError(`${where}: job: unknown member ${JSON.stringify(name)}`);
    const [min, max] = JOB_POLICY_BOUNDS[name];
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new RangeError(`${where}: job.${name} must be an integer from ${min} to ${max}`);
    }
  }
  return Object.freeze({ ...JOB_POLICY, ...policy });
}

function isSetting(name: string): name is keyof JobPolicy {
  return Object.hasOwn(JOB_POLICY_BOUNDS, name);
}
