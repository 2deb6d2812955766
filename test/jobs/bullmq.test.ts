import { describe, onTestFinished } from 'vitest';
import { openBullmqDispatcher } from '../../src/jobs/dispatchers/bullmq.ts';
import { createTestLog } from '../support/log.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import { describeDispatcher, type OpenQueue, type QueueOptions } from './dispatcher.suite.ts';

const SERVICES = { redis: redisUrl, postgres: postgresUrl };

async function open(service: 'redis' | 'postgres', { limits = new Map() }: QueueOptions = {}): Promise<OpenQueue> {
  const url = await SERVICES[service]();
  const another = async () => {
    const dispatcher = await openBullmqDispatcher({
      url,
      serverId: 'desk',
      limits,
      allowVolatileQueue: true,
      log: createTestLog(),
    });
    onTestFinished(() => dispatcher.close());
    return dispatcher;
  };
  const dispatcher = await another();
  return { dispatcher, another, submit: (job, runAtMs) => dispatcher.push(job, runAtMs) };
}

describe('on Redis', { tags: ['redis'] }, () => {
  describeDispatcher('BullMQ on Redis', (options) => open('redis', options));
});

describe('in PostgreSQL', { tags: ['postgres'] }, () => {
  describeDispatcher('BullMQ in PostgreSQL', (options) => open('postgres', options));
});
