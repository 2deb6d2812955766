import type { InnerOptions } from '../../client/exchange.ts';
import type { ResponseMessage } from '../../wire/envelope.ts';
import type { JsonObject } from '../../wire/json.ts';

/** Asks the server for one thing; the reply is verified, and `ok`. @throws ProtocolError, ClientError */
export type Ask = (tool: string, args: JsonObject, options?: InnerOptions) => Promise<ResponseMessage>;
