/** Real PostgreSQL and Redis servers to try things on. For tests and for scripts: nothing here knows of vitest. */
export { DATA_VARIABLE } from './keeper.ts';
export { memoryFolder } from './memory.ts';
export { missingServices, SERVICE_TAGS } from './missing.ts';
export { startPostgres } from './postgres.ts';
export { startRedis } from './redis.ts';
export type { Service } from './service.ts';
