import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ConfigIssue, checkConfig, parseConfig } from './parse-config.js';

const smallest = `name: ap1
cluster: dev
interface: eth0
control:
  listen: 10.0.0.1:7400
  tls: {cert: /etc/r/ap.crt, key: /etc/r/ap.key, ca: /etc/r/ca.crt}
listeners:
  - name: web
    vip: 10.0.0.100:8080
`;

function issuesOf(text: string): readonly ConfigIssue[] {
  const result = checkConfig(text);
  if (result.ok) throw new Error('was accepted');
  return result.issues;
}

function only(text: string): ConfigIssue {
  const issues = issuesOf(text);
  expect(issues).toHaveLength(1);
  return issues[0] as ConfigIssue;
}

describe('a configuration', () => {
  it('needs a few keys only; the rest has defaults', () => {
    const config = parseConfig(smallest);
    expect(config).toMatchObject({
      name: 'ap1',
      interfaceName: 'eth0',
      pinDirectory: '/sys/fs/bpf/restitch/ap1',
      adminSocket: '/run/restitch/ap1.sock',
      control: { listen: { address: '10.0.0.1', port: 7400 }, tls: { certFile: '/etc/r/ap.crt' } },
      listeners: [{ name: 'web', vip: { address: '10.0.0.100', port: 8080 }, weights: {} }],
      registration: 'certificate',
      moves: { budgetMs: 50, onTargetFailure: 'revert' },
      drain: { onDeadline: 'wait' },
    });
    expect(config.health).not.toHaveProperty('tcpProbe');
  });

  it('takes every key, with units, and both ways to write an address', () => {
    const config = parseConfig(`${smallest}  - name: six
    vip: "[2001:DB8:0:0::1]:443"
    weights: {a: 3}
  - name: map
    vip: {address: 2001:db8::2, port: 443}
pinDirectory: /sys/fs/bpf/x
stateDirectory: /var/lib/x
holdDevice: hold0
adminSocket: /run/x.sock
registration: listed
endpoints:
  - {name: a, weight: 50, labels: {zone: north}, capacity: 1000, bandwidth: 1.5Gbit, maintenance: [{start: "2027-01-31T22:00:00+01:00", duration: 2h}]}
  - name: b
hold: {flowBytes: 1MiB, totalBytes: 64MiB}
moves:
  budget: 80ms
  deadlines: {confirm: 3s}
  concurrency: 8
  endpointConcurrency: 4
  perSecond: 100
  minimumResidence: 0s
  onTargetFailure: next-target
  maxTargets: 2
health: {heartbeat: 200ms, suspectAfter: 1s, deadAfter: 3s, tcpProbe: {interval: 5s}}
flows: {max: 1000, maxHalfOpen: 100, sweepInterval: 1m, idleAfter: 1h, closingLinger: 70s}
drain: {deadline: 1h, onDeadline: reset}
inputs: {noticeSocket: /run/n.sock, telemetrySessions: 9, probeInterval: 0s, locations: /l, clientRetention: 1d}
log: {level: debug}
`);
    expect(config.listeners[1]).toEqual({
      name: 'six',
      vip: { address: '2001:db8::1', port: 443 },
      weights: { a: 3 },
    });
    expect(config.listeners[2]?.vip).toEqual({ address: '2001:db8::2', port: 443 });
    expect(config.endpoints).toEqual([
      {
        name: 'a',
        weight: 50,
        labels: { zone: 'north' },
        capacitySessions: 1000,
        bandwidthBps: 1.5e9,
        maintenance: [{ startAtMs: Date.UTC(2027, 0, 31, 21), durationMs: 7_200_000, noticeMs: 600_000 }],
      },
      { name: 'b', weight: 100, labels: {}, maintenance: [] },
    ]);
    expect(config.inputs).toEqual({
      noticeSocket: '/run/n.sock',
      telemetrySessions: 9,
      probeIntervalMs: 0,
      locationsFile: '/l',
      clientRetentionMs: 86_400_000,
      clientPrefixes: 10_000,
    });
    expect(config.hold).toEqual({ flowBytes: 1 << 20, totalBytes: 64 << 20 });
    expect(config.moves).toMatchObject({
      budgetMs: 80,
      perSecond: 100,
      minimumResidenceMs: 0,
      maxTargets: 2,
    });
    expect(config.moves.deadlines).toMatchObject({ confirmMs: 3000, releaseMs: 5000 });
    expect(config.health.tcpProbe).toEqual({ intervalMs: 5000, timeoutMs: 500 });
    expect(config.flows.idleAfterMs).toBe(3_600_000);
    expect(config.drain).toEqual({ deadlineMs: 3_600_000, onDeadline: 'reset' });
  });
});

describe('what is wrong', () => {
  it.each([
    ['an unknown key', 'moves:\n  budgett: 50ms\n', 11, 3, 'moves.budgett', 'did you mean budget'],
    ['an unknown key like no other', 'zzz: 1\n', 10, 1, 'zzz', 'keys here are name, cluster'],
    ['a number without unit', 'moves:\n  budget: 50\n', 11, 11, 'moves.budget', '50ms'],
    ['a unit nobody knows', 'hold: {flowBytes: 5mb}\n', 10, 19, 'hold.flowBytes', 'MiB'],
    ['a zero budget', 'moves: {budget: 0ms}\n', 10, 17, 'moves.budget', 'at least 1ms'],
    [
      'a word that is none of the few',
      'drain: {onDeadline: hope}\n',
      10,
      21,
      'drain.onDeadline',
      'wait, force, reset',
    ],
    ['a fraction of a count', 'flows: {max: 1.5}\n', 10, 14, 'flows.max', 'whole number'],
    ['an interface name too long', 'holdDevice: abcdefghijklmnop\n', 10, 13, 'holdDevice', '15 characters'],
    ['a relative path', 'adminSocket: run/x\n', 10, 14, 'adminSocket', 'begins with /'],
    ['a block that is none', 'health: yes\n', 10, 9, 'health', 'block of keys'],
    ['a list that is none', 'endpoints: {a: 1}\n', 10, 1, 'endpoints', 'list'],
    ['a double endpoint', 'endpoints:\n  - name: a\n  - name: a\n', 12, 11, 'endpoints[1].name', 'once'],
    ['a health order', 'health: {suspectAfter: 100ms}\n', 10, 24, 'health.suspectAfter', '1500ms'],
    ['a dead before suspect', 'health: {deadAfter: 1s}\n', 10, 21, 'health.deadAfter', 'longer'],
    ['a flow above the total', 'hold: {flowBytes: 1GiB}\n', 10, 19, 'hold.flowBytes', 'at most'],
    ['an empty list of the listed', 'registration: listed\n', 10, 15, 'registration', 'list the endpoints'],
    ['a key twice', 'name: other\n', 10, 1, '', 'keep one'],
    ['a tab that is not YAML', 'moves:\n\tbudget: 5ms\n', 11, 1, '', 'indentation'],
  ])('%s: place and remedy', (_what, addition, line, column, path, remedy) => {
    const issue = only(smallest + addition);
    expect(issue).toMatchObject({ line, column, path });
    expect(issue.remedy).toContain(remedy);
  });

  it('is listed whole, in the order of the file, not one at a time', () => {
    const issues = issuesOf(
      'name: A\ncluster: dev\ninterface: eth0\ncontrol: {listen: nowhere, tls: {}}\nlisteners: 3\n',
    );
    expect(issues.map((i) => i.path)).toEqual([
      'name',
      'control.listen',
      'control.tls.cert',
      'control.tls.key',
      'control.tls.ca',
      'listeners',
    ]);
  });

  it('is a VIP that two listeners claim, however it is written', () => {
    const issue = only(`${smallest}  - name: web2\n    vip: "[::ffff:10.0.0.100]:8080"\n`);
    expect(issue).toMatchObject({ line: 11, path: 'listeners[1].vip' });
    expect(issue.problem).toBe('10.0.0.100:8080 is taken by listeners[0]');
  });

  it('is a name that two listeners claim', () => {
    expect(only(`${smallest}  - name: web\n    vip: 10.0.0.101:8080\n`)).toMatchObject({
      path: 'listeners[1].name',
    });
  });

  it('is a weight for an endpoint that may not join', () => {
    const text = `${smallest}    weights: {c: 1}\nregistration: listed\nendpoints: [{name: a}]\n`;
    expect(only(text)).toMatchObject({ path: 'listeners[0].weights.c', problem: 'no endpoint is named c' });
  });

  it('is a VIP on the address of the control listener', () => {
    expect(only(smallest.replace('10.0.0.100:8080', '10.0.0.1:7400')).path).toBe('listeners[0].vip');
  });

  it.each([
    '10.0.0.1',
    '10.0.0.256:80',
    '[::1:80',
    '::1:80',
    'host:80',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    ':80',
    '7',
  ])('is the address %s', (vip) => {
    expect(issuesOf(smallest.replace('10.0.0.100:8080', JSON.stringify(vip)))[0]?.path).toBe(
      'listeners[0].vip',
    );
  });

  it('is what is missing, at the block that lacks it', () => {
    expect(only(smallest.replace('interface: eth0\n', ''))).toMatchObject({
      path: 'interface',
      problem: 'is missing',
    });
    expect(issuesOf('').map((i) => i.problem)).toEqual(['is of the wrong kind']);
  });

  it('is thrown as one error that lists all', () => {
    expect(() => parseConfig(`${smallest}zzz: 1\nyyy: 2\n`, 'ap.yaml')).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringMatching(/^ap\.yaml:10:1: zzz: no such key.*\nap\.yaml:11:1: yyy: no such key/),
      }),
    );
  });

  it('is an explosion of aliases', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}]`);
    levels[0] = 'a0: &a0 [x,x,x,x,x,x,x,x,x]';
    expect(issuesOf(levels.join('\n'))[0]?.remedy).toContain('aliases');
  });
});

describe('any text at all', () => {
  it('is accepted or refused with places inside it, never thrown', () => {
    const mutated = fc
      .tuple(
        fc.nat(smallest.length),
        fc.nat(12),
        fc.oneof(fc.string(), fc.constantFrom(': ', '\n  - ', '{', '[', '&a', '*a', '!!', '"')),
      )
      .map(([at, cut, insert]) => smallest.slice(0, at) + insert + smallest.slice(at + cut));
    fc.assert(
      fc.property(fc.oneof(fc.string(), mutated), (text) => {
        const result = checkConfig(text);
        if (result.ok) return;
        const lines = text.split('\n').length;
        expect(result.issues.length).toBeGreaterThan(0);
        for (const issue of result.issues) {
          expect(issue.line).toBeGreaterThanOrEqual(1);
          expect(issue.line).toBeLessThanOrEqual(lines + 1);
          expect(issue.problem).not.toBe('');
          expect(issue.remedy).not.toBe('');
        }
      }),
      { numRuns: 500 },
    );
  });
});
