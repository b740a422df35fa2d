/**
 * One-way time of a control message between two processes on one host, beside the same bytes over plain TCP.
 * usage: node bench/channel-latency.mjs [messages]      one JSON object on standard output; needs `npm run build`
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listenChannels, openChannel } from '@restitch/channel';
import { createDevPki } from '../packages/pki/dist/dev-pki.js';

const bound = 1 << 20;
const payload = { t: 'prepare', moveId: 'abcdefgh', target: { name: 'b', address: { address: '10.0.0.2', port: 7500 } } };
const nowNs = () => process.hrtime.bigint();

if (process.argv[2] === 'answer') await answer();
else await measure(Number(process.argv[2] ?? 10_000));

/** The other process: answers each message with the time at which it came. */
async function answer() {
  process.once('message', async ({ port, plainPort, files }) => {
    const channel = await openChannel({
      host: '127.0.0.1', port, tls: files, expect: { role: 'access-point' }, maxMessageBytes: bound,
    });
    channel.onMessage((m) => channel.send({ t: 'reply', re: m.rq, cameNs: String(nowNs()) }));
    const socket = net.connect(plainPort, '127.0.0.1').setNoDelay(true);
    socket.on('data', (chunk) => socket.write(`${nowNs()}`.padEnd(chunk.length)));
    channel.onClose(() => process.exit(0));
  });
}

async function measure(messages) {
  const directory = mkdtempSync(join(tmpdir(), 'restitch-bench-'));
  const pki = await createDevPki(directory);
  const own = await pki.issue('access-point', 'ap');
  const files = await pki.issue('endpoint', 'a');
  let channel;
  const came = new Promise((resolve) => {
    channel = resolve;
  });
  const listener = await listenChannels({
    host: '127.0.0.1', port: 0, tls: own, allow: ['endpoint'], maxMessageBytes: bound, onChannel: channel,
  });
  const plain = net.createServer().listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const child = fork(fileURLToPath(import.meta.url), ['answer']);
  const plainSocket = once(plain, 'connection');
  child.send({ port: listener.port, plainPort: plain.address().port, files });
  const peer = await came;
  const [socket] = await plainSocket;
  socket.setNoDelay(true);

  const overTls = { there: [], back: [] };
  const overTcp = { there: [], back: [] };
  // Alternating, so that a busy moment of the machine falls on both.
  for (let round = 0; round < 10; round++) {
    await channelRounds(peer, messages / 10, overTls);
    await plainRounds(socket, messages / 10, overTcp);
  }
  const burst = await burstPerSec(peer, messages);
  console.log(
    JSON.stringify({
      messages,
      channelUs: { there: quantiles(overTls.there), back: quantiles(overTls.back) },
      plainTcpUs: { there: quantiles(overTcp.there), back: quantiles(overTcp.back) },
      answeredPerSecInBurst: burst,
    }),
  );
  socket.destroy();
  plain.close();
  await listener.close();
  rmSync(directory, { recursive: true });
}

function channelRounds(peer, count, into) {
  let left = count;
  let sentNs = 0n;
  const ask = () => {
    sentNs = nowNs();
    peer.send({ ...payload, rq: left });
  };
  return new Promise((resolve) => {
    peer.onMessage((m) => {
      note(into, sentNs, BigInt(m.cameNs));
      if (--left <= 0) resolve();
      else ask();
    });
    ask();
  });
}

async function plainRounds(socket, count, into) {
  const bytes = Buffer.alloc(120);
  for (let i = 0; i < count; i++) {
    const sentNs = nowNs();
    socket.write(bytes);
    const [chunk] = await once(socket, 'data');
    note(into, sentNs, BigInt(String(chunk).trim()));
  }
}

function burstPerSec(peer, count) {
  let left = count;
  const beganNs = nowNs();
  return new Promise((resolve) => {
    peer.onMessage(() => {
      if (--left === 0) resolve(Math.round((count * 1e9) / Number(nowNs() - beganNs)));
    });
    for (let i = 0; i < count; i++) peer.send({ ...payload, rq: i });
  });
}

function note(into, sentNs, cameNs) {
  into.there.push(Number(cameNs - sentNs) / 1000);
  into.back.push(Number(nowNs() - cameNs) / 1000);
}

function quantiles(values) {
  values.sort((a, b) => a - b);
  const at = (q) => Math.round(values[Math.min(values.length - 1, Math.floor(values.length * q))] * 10) / 10;
  return { p50: at(0.5), p99: at(0.99) };
}
