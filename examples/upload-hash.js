// Answers what it was sent with its SHA-256, in hexadecimal, when the client ends. An upload goes on at another server
// in the middle: the hash's own state travels, which node:crypto cannot give, so a small SHA-256 of our own keeps it.
// usage: node examples/upload-hash.js CONFIG.json
import { readFileSync } from 'node:fs';
import { createServer } from '@restitch/endpoint';
import { createSha256, finishSha256, updateSha256 } from './sha256.js';

const { endpoint, listen } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const server = createServer({ ...endpoint, allowHalfOpen: true }, (session) => {
  if (!session.resumed) session.state = createSha256();
  session.on('data', (bytes) => updateSha256(session.state, bytes));
  session.on('end', () => session.end(`${finishSha256(session.state)}\n`));
  session.on('error', () => undefined);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
