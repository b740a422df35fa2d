// An echo server whose sessions can be moved while clients use them. Its only state is the position in the stream, so it
// has not a line about moves.  usage: node examples/echo.js CONFIG.json
import { readFileSync } from 'node:fs';
import { createServer } from '@restitch/endpoint';

const { endpoint, listen } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const server = createServer(endpoint, (session) => {
  session.pipe(session);
  session.on('error', (error) => console.error(`${session.remoteAddress}: ${error.message}`));
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.on('status', (status) => console.log('access point', status.t));
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
