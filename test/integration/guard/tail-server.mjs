// A guarded process of the tests: joins the host agent, serves one connection as it is told, and is killed.
import { connect, createServer } from 'node:net';

const [socketPath, address, port] = process.argv.slice(2);
const agent = connect(socketPath);
const say = (message) => agent.write(`${JSON.stringify(message)}\n`);
say({ t: 'join', name: 'a', instance: `i${process.pid}` });
agent.on('error', () => undefined);
agent.once('data', (line) => process.send({ lease: JSON.parse(line).lease }));

let served;
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  served = socket;
  socket.on('error', () => undefined);
  socket.resume();
  process.send({ accepted: true });
});

const acts = {
  listen: () => server.listen(Number(port), address, () => process.send({ listening: true })),
  write: ({ bytes }) => served.write(Buffer.alloc(bytes, 'x'), () => process.send({ written: true })),
  end: () => served.end(() => process.send({ ended: true })),
  // What comes from now on stays in the accept queue.
  block: () => process.send({ blocked: true }, () => { for (;;); }),
  leave: () => {
    say({ t: 'leaving', on: true });
    agent.end(() => setTimeout(() => process.exit(0), 50));
  },
};
process.on('message', (message) => acts[message.act](message));
process.on('disconnect', () => process.exit());
