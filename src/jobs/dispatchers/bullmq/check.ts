import type { BullmqOptions } from './dispatcher.ts';
import { openRedisService } from './redis.ts';
import { loadPackages } from './service.ts';

/**
 * Looks whether a queue can be had there, and changes nothing. A database is looked at when it is opened: mostly
 * it is that of the records.
 *
 * @throws SetupError, as `openBullmqDispatcher`
 */
export async function checkQueue(
  url: string,
  { allowVolatileQueue }: Pick<BullmqOptions, 'allowVolatileQueue'>,
): Promise<void> {
  if (!/^redis/i.test(url)) {
    await loadPackages('a queue in PostgreSQL needs the packages bullmq and pg', 'bullmq@6.7 pg@8', () =>
      Promise.all([import('bullmq'), import('pg')]),
    );
    return;
  }
  const service = await openRedisService({
    url,
    serverId: '',
    allowVolatileQueue,
    // What there is to warn of is said when it is opened for good.
    log: SILENT,
    complain() {},
  });
  await service.close();
}

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
