/**
 * A server that takes an upload at level commit: every chunk goes to its parent (the buddy) before it is acknowledged.
 * stdout: frames of 4-byte length and bytes; stdin: the number of bytes the parent has, 8 bytes each.
 * stderr: `listening`, then what a buddy must know of the socket. argv: pin directory, address, port
 */
import { createServer } from 'node:net';
import { readTemplate } from '../../../packages/endpoint/dist/tcp/index.js';
import { createGuardControl, openGuardPins } from '@restitch/guard/internal';

const [, , pinDirectory, address, port] = process.argv;
const guard = createGuardControl(openGuardPins(pinDirectory));
let commit = () => undefined;

createServer((socket) => {
  const flow = {
    client: { address: socket.remoteAddress, port: socket.remotePort },
    vip: { address: socket.localAddress, port: socket.localPort },
  };
  const { clientStart } = guard.originOf(flow);
  const family = flow.vip.address.includes(':') ? 10 : 2;
  const template = readTemplate(socket._handle.fd, family, { inputRead: 0, outputWritten: 0 }, Date.now());
  process.stderr.write(`${JSON.stringify({ ...template, clientStart, window: template.window.toString('hex') })}\n`);
  const { rcvWscale: windowScale, serverStart: sentEnd } = template;
  guard.register(flow, { epoch: 1, level: 'commit', lease: 0, committed: clientStart, sentEnd, windowScale });
  commit = (bytes) => guard.commit(flow, 1, (clientStart + bytes) >>> 0);
  socket.on('data', (chunk) => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(chunk.length);
    process.stdout.write(Buffer.concat([head, chunk]));
  });
}).listen(Number(port), address, () => process.stderr.write('listening\n'));

process.stdin.on('data', (numbers) => commit(Number(numbers.readBigUInt64LE(numbers.length - 8))));
