// A line protocol with state: SET key value, GET key, INCR key. What a session has set travels with it.
// usage: node examples/line-protocol.js CONFIG.json
import { readFileSync } from 'node:fs';
import { createServer } from '@restitch/endpoint';

const { endpoint, listen } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

function answer(values, line) {
  const [command, key = '', value = ''] = line.trim().split(' ');
  if (command === 'SET') values[key] = value;
  else if (command === 'INCR') values[key] = String(Number(values[key] ?? 0) + 1);
  else if (command !== 'GET') return 'ERROR unknown command';
  return values[key] ?? 'NONE';
}

const server = createServer(endpoint, (session) => {
  // A moved session brings its state along; a new one begins with this.
  if (!session.resumed) session.state = { rest: '', values: {} };
  const { state } = session;
  session.on('data', (bytes) => {
    const lines = (state.rest + bytes.toString('latin1')).split('\n');
    state.rest = lines.pop();
    for (const line of lines) session.write(`${answer(state.values, line)}\n`);
  });
  session.on('error', () => undefined);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
