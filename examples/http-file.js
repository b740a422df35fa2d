// Serves files by HTTP/1.1, one request a connection. A download goes on at another server in the middle of the file:
// the position is `session.bytesWritten`, so the state says only which file and how long the head was.
// usage: node examples/http-file.js CONFIG.json   (config: also {"directory": "/srv/files"}, the same on all servers)
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { pipeline } from 'node:stream';
import { createServer } from '@restitch/endpoint';

const { endpoint, listen, directory } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

function sendRest(session) {
  const { file, headBytes } = session.state;
  const start = session.bytesWritten - headBytes;
  // Not pipe: when the session has moved away, its file must be closed here.
  pipeline(createReadStream(join(directory, file), { start }), session, () => undefined);
}

function begin(session, request) {
  const file = normalize(`/${/^GET (\S+)/.exec(request)?.[1] ?? ''}`);
  const size = statSync(join(directory, file), { throwIfNoEntry: false })?.size;
  if (size === undefined) return session.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
  const head = `HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\nconnection: close\r\n\r\n`;
  session.state = { request: '', file, headBytes: head.length };
  session.write(head);
  return sendRest(session);
}

const server = createServer({ ...endpoint, allowHalfOpen: true }, (session) => {
  if (!session.resumed) session.state = { request: '', file: '', headBytes: 0 };
  session.on('data', (bytes) => {
    const { file, request } = session.state;
    if (file !== '') return;
    session.state.request = request + bytes.toString('latin1');
    if (session.state.request.includes('\r\n\r\n')) begin(session, session.state.request);
  });
  session.on('error', () => undefined);
  if (session.resumed && session.state.file !== '' && session.writable) sendRest(session);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
