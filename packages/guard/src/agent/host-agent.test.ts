import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { type Flow, createCounters, systemClock } from '@restitch/core';
import { listTcpSockets } from '@restitch/sys';
import { tcpState } from '@restitch/sys/internal';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeGuardPins } from '../kernel/guard-pins.js';
import { joinAgent } from './agent-client.js';
import { HostAgent } from './host-agent.js';
import { useBpfDirectory } from '../../../../test/bpf-directory.js';

const directory = `${useBpfDirectory()}/pins`;
const socketPath = `${tmpdir()}/restitch-agent-test-${process.pid}.sock`;
const counters = createCounters();
let agent: HostAgent;
let child: ChildProcess | undefined;

const open = (): Promise<HostAgent> =>
  HostAgent.open({ name: 'a', socketPath, pinDirectory: directory, interfaces: [], counters });

beforeEach(async () => {
  agent = await open();
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await agent.close();
  removeGuardPins(directory);
});

/** Another process that joins and says which lease it got; with `leave` it closes its socket and lives on. */
async function startApplication(leave = false): Promise<number> {
  const script = `const s = require('node:net').connect(${JSON.stringify(socketPath)});
    s.write('{"t":"join","name":"a","instance":"i1"}\\n');
    s.once('data', (d) => { console.log(JSON.parse(d).lease); ${leave ? 's.destroy();' : ''} setInterval(() => {}, 1000); });`;
  child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  return Number(line.toString());
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 5000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(condition()).toBe(true);
}

/** A server's socket that nobody holds any more, with unsent bytes before its FIN. */
async function openOrphan(): Promise<{ readonly flow: Flow; close(): void }> {
  const server = createServer((served) => {
    served.write(Buffer.alloc(64 * 1024 * 1024));
    setTimeout(() => served.destroy(), 50);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1').pause();
  await once(socket, 'connect');
  const flow = {
    client: { address: '127.0.0.1', port: socket.localPort ?? 0 },
    vip: { address: '127.0.0.1', port },
  };
  await until(() => isOrphaned(flow));
  const close = (): void => {
    socket.destroy();
    server.close();
  };
  return { flow, close };
}

function isOrphaned({ client, vip }: Flow): boolean {
  return listTcpSockets([tcpState.finWait1]).some(
    (s) => s.inode === 0 && s.local.port === vip.port && s.remote.port === client.port,
  );
}

describe('the host agent', () => {
  it('gives each process a lease of its own, which is not running before somebody renews it', async () => {
    const one = await joinAgent(socketPath, { name: 'a', instance: 'i1' });
    const two = await joinAgent(socketPath, { name: 'a', instance: 'i2' });
    expect(one.pinDirectory).toBe(directory);
    expect(new Set([one.lease, two.lease, 0]).size).toBe(3);
    expect(agent.guard.leaseEndsAtNs(one.lease)).toBe(0n);
    one.close();
    two.close();
  });

  it('ends the lease of a process that was killed, and of that one only', async () => {
    const lease = await startApplication();
    const other = await joinAgent(socketPath, { name: 'a', instance: 'i2' });
    const endsAtNs = systemClock.monotonicNs() + 60_000_000_000n;
    agent.guard.setLease(lease, endsAtNs);
    agent.guard.setLease(other.lease, endsAtNs);
    child?.kill('SIGKILL');
    await until(() => agent.guard.leaseEndsAtNs(lease) === 0n);
    expect(agent.guard.leaseEndsAtNs(other.lease)).toBe(endsAtNs);
    other.close();
  });

  it('does not take a closed connection for a death', async () => {
    const deaths = counters.get('agent_deaths_total');
    const lease = await startApplication(true);
    agent.guard.setLease(lease, 0xffffffffffn);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(agent.guard.leaseEndsAtNs(lease)).toBe(0xffffffffffn);
    expect(counters.get('agent_deaths_total')).toBe(deaths);
  });

  it('leaves leases and guard to its successor', async () => {
    const flow = { client: { address: '10.9.1.2', port: 4001 }, vip: { address: '10.9.1.100', port: 7000 } };
    agent.guard.register(flow, {
      epoch: 3,
      level: 'commit',
      lease: 5,
      committed: 1,
      sentEnd: 1,
      windowScale: 7,
    });
    agent.guard.setLease(5, 77n);
    await agent.close();
    agent = await open();
    expect(agent.guard.lookup(flow)).toMatchObject({ epoch: 3, lease: 5 });
    expect(agent.guard.leaseEndsAtNs(5)).toBe(77n);
    const next = await Promise.all(
      Array.from({ length: 6 }, (_, i) => joinAgent(socketPath, { name: 'a', instance: `i${i}` })),
    );
    expect(next.map((m) => m.lease)).not.toContain(5);
    for (const membership of next) membership.close();
  });

  it('clears what a process left that died while no agent was there, once its lease has ended', async () => {
    const { flow, close } = await openOrphan();
    const settings = { epoch: 1, level: 'commit', committed: 1, sentEnd: 1, windowScale: 7 } as const;
    agent.guard.register(flow, { ...settings, lease: 5 });
    agent.guard.setLease(5, systemClock.monotonicNs() + 60_000_000_000n);
    (await joinAgent(socketPath, { name: 'a', instance: 'i1' })).close();
    expect(isOrphaned(flow)).toBe(true);
    agent.guard.setLease(5, 1n);
    (await joinAgent(socketPath, { name: 'a', instance: 'i2' })).close();
    expect(isOrphaned(flow)).toBe(false);
    close();
  });

  it.each(['nonsense\n', '{"t":"join"}\n', `${'x'.repeat(5000)}`])('refuses %s and goes on', async (line) => {
    const socket = connect(socketPath);
    socket.write(line);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('refused');
    socket.destroy();
    (await joinAgent(socketPath, { name: 'a', instance: 'i9' })).close();
  });

  it('is named when it is not there', async () => {
    await expect(joinAgent(`${socketPath}-no`, { name: 'a', instance: 'i' })).rejects.toMatchObject({
      code: 'unsupported_host',
    });
  });
});
