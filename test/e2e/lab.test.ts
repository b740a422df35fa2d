/** A laboratory that is kept: others can run their own clients in it, and `lab down` leaves nothing. */
import { afterAll, expect, it } from 'vitest';
import { e2eTimeoutMs, labIdOf, leftoversOf, startRestitch } from './run-restitch.js';

let progress = '';

afterAll(async () => {
  await startRestitch(['lab', 'down', '--lab', labIdOf(progress)]);
});

it(
  'serves strangers through the VIP, and goes away whole',
  async () => {
    const up = await startRestitch(['lab', 'up', '--endpoints', '2', '--json']);
    progress = up.err;
    const id = labIdOf(up.err);
    expect(up.code, up.err).toBe(0);
    const status = JSON.parse((await startRestitch(['lab', 'status', '--lab', id, '--json'])).out) as {
      vip: { ipv4: string; ipv6: string };
      ports: { files: number };
      parties: Array<{ name: string }>;
    };
    expect(status.parties.map((p) => p.name)).toEqual(['client', 'access-point', 'a', 'b']);
    for (const host of [status.vip.ipv4, `[${status.vip.ipv6}]`]) {
      const url = `http://${host}:${status.ports.files}/bytes/1000`;
      const got = await startRestitch([
        'lab',
        'exec',
        '--lab',
        id,
        'client',
        '--',
        'curl',
        '-gsS',
        '-m',
        '10',
        url,
      ]);
      expect(got.code, got.err).toBe(0);
    }
    const failing = await startRestitch(['lab', 'exec', '--lab', id, 'a', '--', 'sh', '-c', 'exit 7']);
    expect(failing.code).toBe(7);
    expect((await startRestitch(['lab', 'exec', '--lab', id, 'z', 'true'])).code).toBe(2);
    expect((await startRestitch(['lab', 'down', '--lab', id])).code).toBe(0);
    expect(leftoversOf(up.err)).toEqual([]);
  },
  e2eTimeoutMs,
);
