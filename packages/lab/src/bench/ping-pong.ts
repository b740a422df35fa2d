/**
 * A program of its own: blocking sockets for round trips. Node's event loop adds 30 µs on each side, which would hide
 * what steering costs; blocking libc calls add about one.
 *
 * `echo PORT` answers every byte of one connection after the other, until killed. `ping` asks on messages
 * `{address, port, count}` and answers `{p50Us, p99Us}`, or uploads on messages `{address, port, bytes}` and answers
 * `{seconds}`; `{error}` if it could not.
 */
import { check, libc } from '@restitch/sys';

const socketFn = libc.declare('int socket(int family, int type, int protocol)');
const bindFn = libc.declare('int bind(int fd, void *address, uint32_t bytes)');
const listenFn = libc.declare('int listen(int fd, int backlog)');
const acceptFn = libc.declare('int accept(int fd, void *address, void *bytes)');
const connectFn = libc.declare('int connect(int fd, void *address, uint32_t bytes)');
const setOptionFn = libc.declare('int setsockopt(int fd, int level, int name, void *value, uint32_t bytes)');
const sendFn = libc.declare('long send(int fd, void *memory, size_t bytes, int flags)');
const recvFn = libc.declare('long recv(int fd, void *memory, size_t bytes, int flags)');
const shutdownFn = libc.declare('int shutdown(int fd, int how)');
const closeFn = libc.declare('int close(int fd)');

const afInet = 2;
const sockStream = 1;
const protocolTcp = 6;
const tcpNodelay = 1;
const solSocket = 1;
const soReuseaddr = 2;
const soReceiveTimeout = 20;
const noSignal = 0x4000;
const messageBytes = 64;
const shutWrite = 1;
const uploadPieceBytes = 256 * 1024;
const receiveTimeoutS = 5;
/** Round trips before the measured ones: neighbour entries, the flow's record, caches. */
const warmUpCount = 200;

/** One measurement. */
export interface PingRequest {
  readonly address: string;
  readonly port: number;
  readonly count: number;
}

/** One upload, to a server that reads to the end, answers and closes. */
export interface UploadRequest {
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
}

function socketAddress(address: string, port: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt16LE(afInet, 0);
  out.writeUInt16BE(port, 2);
  out.set(address.split('.').map(Number), 4);
  return out;
}

function setFlag(fd: number, level: number, name: number): void {
  const one = Buffer.alloc(4);
  one.writeInt32LE(1);
  check(setOptionFn(fd, level, name, one, 4), 'setsockopt', fd);
}

function echo(port: number): never {
  const listener = check(socketFn(afInet, sockStream, 0), 'socket');
  setFlag(listener, solSocket, soReuseaddr);
  check(bindFn(listener, socketAddress('0.0.0.0', port), 16), 'bind', listener);
  check(listenFn(listener, 16), 'listen', listener);
  process.send?.('ready');
  const memory = Buffer.alloc(65536);
  for (;;) {
    const fd = check(acceptFn(listener, null, null), 'accept', listener);
    setFlag(fd, protocolTcp, tcpNodelay);
    for (
      let bytes = recvFn(fd, memory, memory.length, 0);
      bytes > 0;
      bytes = recvFn(fd, memory, memory.length, 0)
    )
      sendFn(fd, memory, bytes, noSignal);
    closeFn(fd);
  }
}

function connectTo(address: string, port: number): number {
  const fd = check(socketFn(afInet, sockStream, 0), 'socket');
  setFlag(fd, protocolTcp, tcpNodelay);
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(BigInt(receiveTimeoutS));
  check(setOptionFn(fd, solSocket, soReceiveTimeout, timeout, 16), 'setsockopt', fd);
  check(connectFn(fd, socketAddress(address, port), 16), 'connect', fd, address);
  return fd;
}

/** From the first byte to the server's answer after the last one. */
function upload(request: UploadRequest): number {
  const fd = connectTo(request.address, request.port);
  try {
    const memory = Buffer.alloc(uploadPieceBytes, 0x5a);
    const start = process.hrtime.bigint();
    for (let left = request.bytes; left > 0; ) {
      left -= check(sendFn(fd, memory, Math.min(left, memory.length), noSignal), 'send', fd);
    }
    check(shutdownFn(fd, shutWrite), 'shutdown', fd);
    while (check(recvFn(fd, memory, memory.length, 0), 'recv', fd) > 0);
    return Number(process.hrtime.bigint() - start) / 1e9;
  } finally {
    closeFn(fd);
  }
}

function ping(request: PingRequest): { p50Us: number; p99Us: number } {
  const fd = connectTo(request.address, request.port);
  try {
    const memory = Buffer.alloc(messageBytes);
    const roundTrip = (): number => {
      const start = process.hrtime.bigint();
      check(sendFn(fd, memory, messageBytes, noSignal), 'send', fd);
      for (let got = 0; got < messageBytes; ) got += check(recvFn(fd, memory, messageBytes, 0), 'recv', fd);
      return Number(process.hrtime.bigint() - start) / 1000;
    };
    for (let i = 0; i < warmUpCount; i++) roundTrip();
    const times = Array.from({ length: request.count }, roundTrip).sort((a, b) => a - b);
    const at = (q: number): number => times[Math.floor(times.length * q)] ?? Number.NaN;
    return { p50Us: at(0.5), p99Us: at(0.99) };
  } finally {
    closeFn(fd);
  }
}

const [mode, port] = process.argv.slice(2);
if (mode === 'echo') setImmediate(echo, Number(port));
if (mode === 'ping') {
  process.on('message', (request: PingRequest | UploadRequest) => {
    try {
      process.send?.('bytes' in request ? { seconds: upload(request) } : ping(request));
    } catch (error) {
      process.send?.({ error: String(error) });
    }
  });
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
}
