import { findPostgres } from './postgres.ts';
import { findRedis } from './redis.ts';

/** What a test may need, as its tag. `own-…`: one that the test starts itself, to kill or to freeze it. */
export const SERVICE_TAGS = ['postgres', 'redis', 'own-postgres', 'own-redis'] as const;
export type ServiceTag = (typeof SERVICE_TAGS)[number];

/** A service that cannot be had here. */
export interface MissingService {
  /** Tests with one of these cannot run. */
  readonly tags: readonly ServiceTag[];
  readonly remedy: string;
}

export function missingServices(): MissingService[] {
  const { WAYBILL_TEST_POSTGRES: postgres, WAYBILL_TEST_REDIS: redis } = process.env;
  const missing: MissingService[] = [];
  if (findPostgres() === undefined) {
    const install = 'install PostgreSQL (Debian: apt install postgresql, macOS: brew install postgresql@17)';
    missing.push(
      postgres === undefined
        ? { tags: ['postgres', 'own-postgres'], remedy: `${install} or, for most, set WAYBILL_TEST_POSTGRES` }
        : { tags: ['own-postgres'], remedy: install },
    );
  }
  if (findRedis() === undefined) {
    const install = 'install Redis or Valkey (Debian: apt install redis-server, macOS: brew install redis)';
    missing.push(
      redis === undefined
        ? { tags: ['redis', 'own-redis'], remedy: `${install} or, for most, set WAYBILL_TEST_REDIS` }
        : { tags: ['own-redis'], remedy: install },
    );
  }
  return missing;
}
