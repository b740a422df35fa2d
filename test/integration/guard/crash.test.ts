/** kill -9 of a server under a bulk upload, on the real kernel: what the client may know, and that a buddy can go on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { once } from 'node:events';
import type { Flow } from '@restitch/core';
import { closeFd } from '@restitch/sys';
import {
  connectSocket,
  familyOf,
  getBufferOption,
  getLocalAddress,
  getTcpInfo,
  openTcpSocket,
  solTcp,
  tcp,
  tcpState,
} from '@restitch/sys/internal';
import {
  attachGuard,
  createGuardControl,
  ensureGuardPins,
  type GuardControl,
  type GuardPins,
  removeGuardPins,
} from '@restitch/guard/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { activateSocket, imageFromCheckpoint, thawSocket } from '../../../packages/endpoint/src/tcp/index.js';
import { waitFor } from '../socket-pair.js';
import { createTwoEndpoints, type TwoEndpoints } from '../two-endpoints.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const directory = `${useBpfDirectory()}/pins`;
type Template = Parameters<typeof imageFromCheckpoint>[0];

let net: TwoEndpoints;
let pins: GuardPins;
let guard: GuardControl;
let server: ChildProcess | undefined;

beforeAll(() => {
  net = createTwoEndpoints();
  pins = ensureGuardPins({ pinDirectory: directory });
  guard = createGuardControl(pins);
  net.inside('a', () => attachGuard(pins, 'eth0'));
});
afterEach(() => {
  server?.kill('SIGKILL');
});
afterAll(() => {
  pins?.close();
  removeGuardPins(directory);
  net?.close();
});

/** The test as the buddy: keeps what the server passes on, and only then says that it has it. */
async function startServer(
  vip: { address: string; port: number },
  namespace: string,
): Promise<{ stored: Buffer[]; child: ChildProcess; template: () => Template }> {
  const script = new URL('uploader-server.mjs', import.meta.url).pathname;
  const child = spawn(
    'nsenter',
    [`--net=${namespace}`, process.execPath, script, directory, vip.address, String(vip.port)],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const stored: Buffer[] = [];
  let rest = Buffer.alloc(0);
  let total = 0;
  child.stdin?.on('error', () => undefined);
  child.stdout?.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const end = 4 + rest.readUInt32LE(0);
      stored.push(rest.subarray(4, end));
      total += end - 4;
      rest = rest.subarray(end);
    }
    const have = Buffer.alloc(8);
    have.writeBigUInt64LE(BigInt(total));
    child.stdin?.write(have);
  });
  let said = '';
  child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
  await waitFor(() => said.includes('listening'));
  const template = (): Template => {
    const plain = JSON.parse(said.split('\n')[1] ?? '') as Omit<Template, 'window'> & { window: string };
    return { ...plain, window: Buffer.from(plain.window, 'hex') };
  };
  return { stored, child, template };
}

async function connectClient(vip: { address: string; port: number }): Promise<{ fd: number; flow: Flow }> {
  const family = familyOf(vip.address);
  const fd = net.inside('client', () => openTcpSocket(family));
  connectSocket(fd, family, vip);
  await waitFor(() => getTcpInfo(fd).state === tcpState.established);
  return { fd, flow: { client: getLocalAddress(fd), vip } };
}

describe.each(['4', '6'] as const)('a server killed under an upload over IPv%s', (version) => {
  it('is not noticed by its client, and its buddy goes on with every byte', async () => {
    const vip = { address: version === '4' ? net.vip4 : net.vip6, port: 7101 + Number(version) };
    net.steer('a');
    guard.setListener(vip, 'commit', 0);
    const { stored, child, template } = await startServer(vip, net.namespacePath('a'));
    server = child;
    const { fd, flow } = await connectClient(vip);
    const upload = randomBytes(24 * 1024 * 1024);
    const client = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    let closedBy = 'nobody';
    client.on('end', () => (closedBy = 'FIN'));
    client.on('error', (error: NodeJS.ErrnoException) => (closedBy = error.code ?? 'error'));
    client.write(upload);
    const half = (): number => stored.reduce((sum, chunk) => sum + chunk.length, 0);
    await waitFor(() => half() > upload.length / 3);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const before = guard.verdicts();
    // The dead process's kernel tries for 1.5 s: FIN or RST at once, then its retransmissions at 200, 400, 800 ms.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const kept = Buffer.concat(stored);
    expect(closedBy).toBe('nobody');
    expect(guard.verdicts().dropFin + guard.verdicts().dropRst).toBeGreaterThan(0n);
    expect(before.dropLease).toBe(0n);
    expect(ackedBytes(fd)).toBeLessThanOrEqual(kept.length);
    expect(kept.equals(upload.subarray(0, kept.length))).toBe(true);

    // The buddy goes on where its copy ends.
    const pending = net.inside('b', () =>
      thawSocket(
        imageFromCheckpoint(
          template(),
          { inputEnd: kept.length, finReceived: false, outputStart: 0, output: Buffer.alloc(0) },
          Date.now(),
        ),
        flow,
      ),
    );
    net.steer('b');
    const socket = new Socket({
      fd: activateSocket(pending).fd,
      readable: true,
      writable: true,
      allowHalfOpen: true,
    });
    const hash = createHash('sha256').update(kept);
    let got = kept.length;
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      got += chunk.length;
    });
    await waitFor(() => got === upload.length, 20_000);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(upload).digest('hex'));
    socket.write('thanks');
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer.toString()).toBe('thanks');
    expect(closedBy).toBe('nobody');
    client.destroy();
    socket.destroy();
    guard.removeListener(vip);
  }, 60_000);
});

describe('without a guard', () => {
  it('the same death is seen at once: the test above can fail', async () => {
    const vip = { address: net.vip4, port: 7110 };
    net.steer('a');
    guard.setListener(vip, 'commit', 0);
    const { child, stored } = await startServer(vip, net.namespacePath('a'));
    server = child;
    const { fd, flow } = await connectClient(vip);
    const client = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    client.write('x');
    // Read, too: the kernel of a process that dies with unread input resets, and that is not what passes here.
    await waitFor(() => stored.length > 0);
    // The entry's owner says that this is the end: a FIN at this place passes.
    guard.end(flow, 1, guard.lookup(flow)?.sentEnd ?? 0);
    const seen = new Promise((resolve) => {
      client.on('end', resolve);
      client.on('error', resolve);
    });
    client.resume();
    child.kill('SIGKILL');
    await seen;
    client.destroy();
    guard.removeListener(vip);
    closeFdQuietly(fd);
  }, 30_000);
});

/** Bytes of the client's that were acknowledged; the kernel counts the SYN too (tcpi_bytes_acked at 120). */
function ackedBytes(fd: number): number {
  const info = Buffer.alloc(128);
  getBufferOption(fd, solTcp, tcp.info, info);
  return Number(info.readBigUInt64LE(120)) - 1;
}

/** node:net has closed it already, or is about to. */
function closeFdQuietly(fd: number): void {
  try {
    closeFd(fd);
  } catch {
    // Closed with its socket.
  }
}
