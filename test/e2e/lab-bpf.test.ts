/** A laboratory needs nothing of the host's BPF file system, and takes its own away. */
import { afterEach, expect, it } from 'vitest';
import { type HostBpfState, PrivateHost } from './private-host.js';
import { e2eTimeoutMs } from './run-restitch.js';

const id = 'bpf';
const mountPoint = `/run/restitch/lab/${id}/bpf`;
let host: PrivateHost;

afterEach(async () => {
  await host.restitch('lab', 'down', '--lab', id);
  await host.close();
});

/** BPF file systems of laboratories, namespaces and state files that are there. */
async function remains(): Promise<string[]> {
  const mounts = (await host.bpfMounts()).filter((path) => path.startsWith('/run/restitch'));
  const names = await host.run('find', '/run/netns', '/run/restitch/lab', '-mindepth', '1');
  return [...mounts, ...names.out.split('\n').filter((line) => line !== '')];
}

it.each<HostBpfState>(['covered', 'unmounted', 'shut'])(
  "comes up where the host's BPF file system is %s, is found by later processes, and goes away whole, twice",
  async (state) => {
    host = await PrivateHost.open(state);
    const before = await host.bpfMounts();
    for (let round = 0; round < 2; round++) {
      const up = await host.restitch('lab', 'up', '--id', id, '--endpoints', '1');
      expect(up.code, up.err).toBe(0);
      expect(await host.bpfMounts()).toEqual([...before, mountPoint]);
      const pins = await host.restitch(
        'lab',
        'exec',
        'access-point',
        '--',
        'find',
        mountPoint,
        '-name',
        'flows',
      );
      expect(pins.out).toMatch(new RegExp(`^${mountPoint}/pins/layout-\\d+/flows\n$`));
      const down = await host.restitch('lab', 'down');
      expect(down.code, down.err).toBe(0);
      expect(await remains()).toEqual([]);
      expect(await host.bpfMounts()).toEqual(before);
    }
  },
  e2eTimeoutMs,
);

it.each(['network', 'access point and'])(
  'whose start is killed at "%s" is removed by lab down',
  async (step) => {
    host = await PrivateHost.open('unmounted');
    const up = host.startRestitch(['lab', 'up', '--id', id, '--endpoints', '1']);
    await up.said(`laboratory ${id}: ${step}`);
    // The file system is mounted right after the first of these lines.
    while (!(await host.bpfMounts()).includes(mountPoint))
      await new Promise((resolve) => setTimeout(resolve, 5));
    up.child.kill('SIGKILL');
    await up.ended;
    expect(await remains()).toContain(mountPoint);
    const down = await host.restitch('lab', 'down', '--lab', id);
    expect(down.code, down.err).toBe(0);
    expect(await remains()).toEqual([]);
  },
  e2eTimeoutMs,
);

it(
  'that fails to start leaves no mount, and one that is there is not disturbed by another of its name',
  async () => {
    host = await PrivateHost.open('unmounted');
    await host.run('ip', 'netns', 'add', `restitch-${id}-fabric`);
    const failed = await host.restitch('lab', 'up', '--id', id, '--endpoints', '1');
    expect(failed.code).toBe(1);
    expect(await remains()).toEqual([]);
    expect((await host.restitch('lab', 'up', '--id', id, '--endpoints', '1')).code).toBe(0);
    const again = await host.restitch('lab', 'up', '--id', id, '--endpoints', '1');
    expect(again).toMatchObject({
      code: 2,
      err: expect.stringContaining(`laboratory ${id} is there already`),
    });
    const url = 'http://10.77.0.100:8080/bytes/10';
    const got = await host.restitch(
      'lab',
      'exec',
      'client',
      '--',
      'curl',
      '-sS',
      '-m',
      '10',
      '-o',
      '/dev/null',
      url,
    );
    expect(got.code, got.err).toBe(0);
  },
  e2eTimeoutMs,
);
