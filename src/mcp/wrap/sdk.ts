import type * as Client from '@modelcontextprotocol/client';
import type * as Stdio from '@modelcontextprotocol/client/stdio';
import { SetupError } from '../../errors/index.ts';

/** The official client; an optional dependency, loaded when a server is wrapped. */
export type Sdk = typeof Client & Pick<typeof Stdio, 'getDefaultEnvironment'>;

/** @throws SetupError when it is not installed */
export async function loadSdk(): Promise<Sdk> {
  try {
    const [client, { getDefaultEnvironment }] = await Promise.all([
      import('@modelcontextprotocol/client'),
      import('@modelcontextprotocol/client/stdio'),
    ]);
    return { ...client, getDefaultEnvironment };
  } catch (error) {
    const message =
      '@modelcontextprotocol/client cannot be loaded: npm install @modelcontextprotocol/client@2.4.0';
    throw new SetupError(message, { cause: error });
  }
}
