import { z } from 'zod';

/** Members that several of the tools about jobs take or give. */
export const STATE = z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired']);
export const JOB_ID = z.string().min(1).max(128);
