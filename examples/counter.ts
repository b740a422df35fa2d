/** The README's server: counts lines for each client, and keeps counting wherever the session goes. */
import { createServer } from '@restitch/endpoint';

const { NAME = 'a', VIP = '10.77.0.100', HOST = '10.77.0.11', ACCESS_POINT = '10.77.0.1', PKI = './pki' } = process.env;

const server = createServer(
  {
    name: NAME,
    app: { name: 'counter', version: '1' },
    accessPoint: { host: ACCESS_POINT, port: 7600 },
    stateAddress: { host: HOST, port: 0 },
    tls: { certFile: `${PKI}/endpoint-${NAME}.crt`, keyFile: `${PKI}/endpoint-${NAME}.key`, caFile: `${PKI}/ca.crt` },
  },
  (session) => {
    session.state ??= { lines: 0 };
    const state = session.state as { lines: number };
    session.on('data', (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 10) session.write(`line ${++state.lines}\n`);
    });
  },
);
server.listen({ host: VIP, port: 9000 });
