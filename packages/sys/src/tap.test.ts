import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { enterNetworkNamespace } from './network-namespace.js';
import { maxTapFrameBytes, openTap, vnetHeaderBytes } from './tap.js';

const namespace = `rs${process.pid}-tap`;

beforeAll(() => {
  execFileSync('ip', ['netns', 'add', namespace]);
  enterNetworkNamespace(`/run/netns/${namespace}`);
});
afterAll(() => void execFileSync('ip', ['netns', 'del', namespace]));

const show = (): string =>
  execFileSync('ip', ['-n', namespace, '-d', 'link', 'show', 'rs-tap'], { encoding: 'utf8', stdio: 'pipe' });

it('a TAP is up and silent, queues as many frames as asked, and goes with its descriptor', () => {
  const tap = openTap('rs-tap', 1234);
  expect(show()).toMatch(/NOARP.*UP/);
  expect(show()).toContain('qlen 1234');
  const memory = Buffer.alloc(maxTapFrameBytes);
  expect(tap.read(memory)).toBe(0);
  expect(() => openTap('rs-tap', 10)).toThrow('rs-tap: EBUSY');
  tap.close();
  expect(show).toThrow('does not exist');
});

it('what is sent into it is read with its virtio header, and written frames arrive', () => {
  const tap = openTap('rs-tap', 100);
  try {
    execFileSync('ip', ['-n', namespace, 'addr', 'add', '10.6.0.1/24', 'dev', 'rs-tap']);
    const sent = 'through the tap';
    execFileSync('nsenter', [
      `--net=/run/netns/${namespace}`,
      'bash',
      '-c',
      `echo -n '${sent}' > /dev/udp/10.6.0.2/9`,
    ]);
    const memory = Buffer.alloc(maxTapFrameBytes);
    const bytes = tap.read(memory);
    expect(memory.toString('latin1', vnetHeaderBytes, bytes)).toContain(sent);
    const received = (): number =>
      Number(
        /RX:[^\n]*\n\s*\d+\s+(\d+)/.exec(
          execFileSync('ip', ['-n', namespace, '-s', 'link', 'show', 'rs-tap'], { encoding: 'utf8' }),
        )?.[1],
      );
    const before = received();
    tap.write(memory, bytes);
    expect(received()).toBe(before + 1);
  } finally {
    tap.close();
  }
});
