import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { planHost } from './plan-host.js';

test('a host that was set up owns the VIP, is quiet about it, and is as before after undo', () => {
  const ns = `rs${process.pid}-host`;
  const inside = (...args: readonly string[]): string =>
    execFileSync('ip', ['netns', 'exec', ns, ...args], { encoding: 'utf8' });
  execFileSync('ip', ['netns', 'add', ns]);
  try {
    inside('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1');
    const steps = planHost({ vips: ['10.77.0.100', '2001:db8::100'], interfaceName: 'eth0' });
    for (const step of steps) {
      try {
        inside(...step.apply);
      } catch (error) {
        if (!step.isOptional) throw error;
      }
    }
    expect(inside('ip', '-o', 'addr', 'show', 'dev', 'lo')).toMatch(
      /10\.77\.0\.100\/32[\s\S]*2001:db8::100\/128/,
    );
    expect(inside('sysctl', '-n', 'net.ipv4.conf.eth0.arp_ignore').trim()).toBe('1');
    for (const step of steps.toReversed()) if (step.undo.length > 0) inside(...step.undo);
    expect(inside('ip', '-o', 'addr', 'show', 'dev', 'lo')).not.toMatch(/10\.77|2001:db8/);
    expect(inside('sysctl', '-n', 'net.ipv4.conf.all.arp_announce').trim()).toBe('0');
  } finally {
    execFileSync('ip', ['netns', 'del', ns]);
  }
});

test('what is no address or no interface is refused with the value in the message', () => {
  expect(() => planHost({ vips: ['10.0.0.300'], interfaceName: 'eth0' })).toThrow(/10\.0\.0\.300/);
  expect(() => planHost({ vips: ['10.0.0.1'], interfaceName: 'eth0; reboot' })).toThrow(/interface name/);
  expect(() => planHost({ vips: [], interfaceName: 'eth0' })).toThrow(/--vip/);
});
