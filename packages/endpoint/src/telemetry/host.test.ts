import { execFileSync } from 'node:child_process';
import {
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inNetworkNamespace } from '@restitch/sys';
import { afterEach, describe, expect, it } from 'vitest';
import { HostSampler } from './host.js';

const cleanups: Array<() => void> = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function fakeHost(): { root: string; set(path: string, text: string): void } {
  const root = mkdtempSync(join(tmpdir(), 'restitch-host-'));
  cleanups.push(() => rmSync(root, { recursive: true }));
  return {
    root,
    set(path, text) {
      mkdirSync(dirname(root + path), { recursive: true });
      writeFileSync(root + path, text);
    },
  };
}

const disk = (name: string, busyMs: number): string =>
  `254 0 ${name} 1 0 8 1 1 0 8 1 0 ${busyMs} 9 0 0 0 0 0 0`;

describe('the host', () => {
  it('gives shares of the period, and nothing where there is nothing to read', () => {
    const host = fakeHost();
    const sampler = new HostSampler(host.root);
    expect(sampler.sample(0)).toEqual({});
    host.set('/proc/stat', 'cpu  100 0 0 800 100 0 0 0 0 0\ncpu0 1 1 1 1\n');
    host.set('/proc/diskstats', `${disk('sda', 500)}\n${disk('sda1', 500)}\n${disk('loop0', 0)}\n`);
    host.set('/proc/meminfo', 'MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   250 kB\n');
    host.set('/proc/pressure/io', 'some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00 …\n');
    expect(sampler.sample(1000)).toEqual({ memoryRatio: 0.75, pressureIo: 0.125 });
    host.set('/proc/stat', 'cpu  125 0 0 855 120 0 0 0 0 0\n');
    host.set('/proc/diskstats', `${disk('sda', 900)}\n${disk('sda1', 1500)}\n${disk('loop0', 999)}\n`);
    expect(sampler.sample(2000)).toMatchObject({ hostCpuRatio: 0.25, ioWaitRatio: 0.2, ioRatio: 0.4 });
  });

  it('has no figure for what was reset, and never more than all of a disk', () => {
    const host = fakeHost();
    const sampler = new HostSampler(host.root);
    host.set('/proc/stat', 'cpu  100 0 0 800 100 0 0 0 0 0\n');
    host.set('/proc/diskstats', disk('sda', 500));
    sampler.sample(0);
    host.set('/proc/stat', 'cpu  1 0 0 8 1 0 0 0 0 0\n');
    host.set('/proc/diskstats', disk('sda', 5000));
    expect(sampler.sample(1000)).toEqual({ ioRatio: 1 });
  });

  it('prefers the pressure of its own group', () => {
    const host = fakeHost();
    host.set('/proc/pressure/cpu', 'some avg10=50.00 avg60=0.00\n');
    host.set('/group/cpu.pressure', 'some avg10=10.00 avg60=0.00\n');
    expect(new HostSampler(host.root, `${host.root}/group`).sample(0)).toEqual({ pressureCpu: 0.1 });
  });

  it('this one reports a disk that writes', () => {
    const sampler = new HostSampler();
    sampler.sample(performance.now());
    const directory = mkdtempSync(join(process.cwd(), 'node_modules', '.restitch-io-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const fd = openSync(join(directory, 'file'), 'w');
    const block = Buffer.alloc(4 * 1024 * 1024, 1);
    for (let i = 0; i < 8; i++) {
      writeSync(fd, block);
      fsyncSync(fd);
    }
    closeSync(fd);
    const { ioRatio, hostCpuRatio } = sampler.sample(performance.now());
    expect(ioRatio).toBeGreaterThan(0);
    expect(ioRatio).toBeLessThanOrEqual(1);
    expect(hostCpuRatio).toBeLessThanOrEqual(1);
  });
});

describe.runIf(process.getuid?.() === 0)('the network namespace', () => {
  function namespace(): string {
    const name = `rs${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    execFileSync('ip', ['netns', 'add', name]);
    cleanups.push(() => execFileSync('ip', ['netns', 'del', name]));
    execFileSync('nsenter', [`--net=/run/netns/${name}`, 'ip', 'link', 'set', 'lo', 'up']);
    return `/run/netns/${name}`;
  }

  /** A listener that never accepts, and more clients than it has room for; SYNs are resent after a second. */
  const flood = `
    import socket, time
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(1)
    cs = []
    for _ in range(12):
        c = socket.socket(); c.setblocking(False); cs.append(c)
        try: c.connect(s.getsockname())
        except BlockingIOError: pass
    time.sleep(2.3)
  `.replaceAll(/^ {4}/gm, '');

  it('counts its own overflows and retransmissions, not those next door', () => {
    const here = namespace();
    const next = namespace();
    const sampler = new HostSampler();
    const neighbour = new HostSampler();
    inNetworkNamespace(here, () => sampler.sample(0));
    inNetworkNamespace(next, () => neighbour.sample(0));
    execFileSync('nsenter', [`--net=${here}`, 'timeout', '20', 'python3', '-c', flood]);
    const figures = inNetworkNamespace(here, () => sampler.sample(1000));
    expect(figures.acceptOverflows).toBeGreaterThan(0);
    expect(figures.retransmitRatio).toBeGreaterThan(0);
    expect(figures.retransmitRatio).toBeLessThanOrEqual(1);
    const others = inNetworkNamespace(next, () => neighbour.sample(1000));
    expect(others.acceptOverflows).toBe(0);
    expect(others).not.toHaveProperty('retransmitRatio');
  });
});
