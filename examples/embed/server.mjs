import { defineTool, ProtocolError } from 'waybill';
import { createServer, listen } from 'waybill/server';
import { z } from 'zod';

const refund = defineTool({
  name: 'refund',
  description: 'Gives an order its money back.',
  input: z.object({ order: z.string(), cents: z.int().positive() }),
  output: z.object({ receipt: z.string() }),
  // Neither read-only nor idempotent: a retry gets the recorded outcome, and nothing is paid twice.
  run: ({ order }, { clientId, requestId }) => ({ receipt: `${clientId}:${order}:${requestId}` }),
});

const server = await createServer({
  serverId: 'shop',
  store: 'sqlite:./shop-data',
  tools: [refund],
  policy({ clientId, tool }) {
    if (tool === 'refund' && !clientId.startsWith('staff-'))
      throw new ProtocolError('forbidden', 'staff only');
  },
});
const listener = await listen(server, { port: Number(process.env.PORT ?? 8080) });
console.log(`listening on ${listener.url}`);

process.once('SIGTERM', () => {
  void Promise.all([listener.close(), server.close()]);
});
