// An ordinary node:http server whose keep-alive connections can be moved between two requests. The parser's state does
// not travel, so a token is held from the first byte of a request to the end of its answer.
// usage: node examples/http-api.js CONFIG.json
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from '@restitch/endpoint';

const { endpoint, listen } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const http = createHttpServer((request, response) => {
  const session = request.socket;
  session.state.requests++;
  response.on('close', () => session.emit('answered'));
  const seen = { path: request.url, requests: session.state.requests, by: endpoint.name };
  setTimeout(() => response.end(`${JSON.stringify(seen)}\n`), 5);
});

const server = createServer({ ...endpoint, allowHalfOpen: true }, (session) => {
  if (!session.resumed) session.state = { requests: 0 };
  let done;
  session.on('data', () => {
    done ??= session.busy();
  });
  session.on('answered', () => {
    done?.();
    done = undefined;
  });
  http.emit('connection', session);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
