import { connect } from 'node:net';
import { test } from 'vitest';
import { listen } from '../../src/transports/index.ts';
import { startServer } from '../support/server.ts';
test('probe', async () => {
  const peer = await startServer();
  const l = await listen(peer.server);
  let ok = 0, bad = 0;
  for (const kind of ['length', 'chunked']) for (let i = 0; i < 4; i++) {
    const got = await new Promise<string>((resolve) => {
      const s = connect(l.port, '127.0.0.1');
      let text = '';
      s.on('data', (d) => (text += d));
      s.on('error', (e) => resolve(`ERR ${e.message} ${text.slice(0, 20)}`));
      s.on('close', () => {console.log('closed', Date.now()-t0);resolve(text.slice(0, 30))}); const t0=Date.now(); setTimeout(()=>{ resolve('TIMEOUT '+text.slice(0,15)); s.destroy()}, 2000);
      const head = 'POST /call HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
      if (kind === 'length') s.write(`${head}content-length: 8000000\r\n\r\n`);
      else s.write(`${head}transfer-encoding: chunked\r\n\r\n`);
      const chunk = Buffer.alloc(65536, 'x');
      let n = 0;
      const more = () => { while (n < 120) { n++; const b = kind === 'length' ? chunk : Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')]); if (!s.write(b)) { s.once('drain', more); return; } } };
      more();
    });
    if (got.startsWith('HTTP/1.1 413')) ok++; else { bad++; if (bad < 5) console.log(kind, got); }
  }
  console.log({ ok, bad });
  await l.close();
});
