/** Where the pins of a daemon and of a host agent come to be, on hosts whose BPF file system is missing or unfit. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDevPki } from '../../packages/pki/src/dev-pki.js';
import { type HostBpfState, type HostProgram, PrivateHost } from './private-host.js';

/** Daemons start in under a second; a busy machine must not fail them. */
const timeoutMs = 60_000;
const guard = new URL('../../packages/guard/dist/internal.js', import.meta.url).href;
const sys = new URL('../../packages/sys/dist/internal.js', import.meta.url).href;
const ordinaryUser = [
  'setpriv',
  '--reuid=65534',
  '--clear-groups',
  '--inh-caps=+net_admin,+bpf',
  '--ambient-caps=+net_admin,+bpf',
];
const rootWithoutMount = ['setpriv', '--bounding-set=-sys_admin'];

let directory: string;
let tls: string;
let host: PrivateHost;
const running: HostProgram[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-bpf-'));
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
  const { certFile, keyFile, caFile } = await pki.issue('access-point', 'ap1');
  tls = `{cert: ${certFile}, key: ${keyFile}, ca: ${caFile}}`;
});
afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  await host.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Configuration of an access point on `lo`. */
function writeConfig(pinDirectory?: string): string {
  const file = join(directory, 'ap1.yaml');
  const lines = [
    'name: ap1',
    'cluster: test',
    'interface: lo',
    `control: {listen: "127.0.0.1:7400", tls: ${tls}}`,
    'listeners: [{name: web, vip: "127.0.0.2:8080"}]',
    `stateDirectory: ${directory}/state`,
    `adminSocket: ${directory}/ap1.sock`,
    'analytics: {mode: "off"}',
    ...(pinDirectory === undefined ? [] : [`pinDirectory: ${pinDirectory}`]),
  ];
  writeFileSync(file, lines.join('\n'));
  return file;
}

/** Starts a daemon, waits until it serves, stops it; returns its log. */
async function startAndStop(pinDirectory?: string): Promise<string> {
  const daemon = host.startRestitch(['access-point', '--config', writeConfig(pinDirectory)]);
  running.push(daemon);
  await daemon.said('access point started').catch((error: Error) => expect.unreachable(error.message));
  daemon.child.kill('SIGTERM');
  const { code, err } = await daemon.ended;
  expect(code, err).toBe(0);
  return err;
}

/** Inode of a pinned map: another one if it was made anew. */
async function inodeOfFlows(pinDirectory: string): Promise<string> {
  const { out } = await host.run('find', pinDirectory, '-name', 'flows', '-printf', '%i');
  expect(out).not.toBe('');
  return out;
}

describe('an access point', () => {
  it.each([
    ['by default', undefined, '/sys/fs/bpf/restitch/ap1', '/sys/fs/bpf'],
    ['elsewhere', '/run/restitch/pins/ap1', '/run/restitch/pins/ap1', '/run/restitch/pins'],
  ])(
    'mounts a BPF file system for its pins once, and they outlive it: %s',
    async (_what, configured, pinDirectory, mountPoint) => {
      host = await PrivateHost.open('unmounted');
      expect(await startAndStop(configured)).toContain('mounted a BPF file system');
      expect(await host.bpfMounts()).toEqual([mountPoint]);
      const inode = await inodeOfFlows(pinDirectory);
      const second = await startAndStop(configured);
      expect(second).not.toContain('mounted a BPF file system');
      expect(second).toContain('"adopted":true');
      expect(await host.bpfMounts()).toEqual([mountPoint]);
      expect(await inodeOfFlows(pinDirectory)).toBe(inode);
    },
    timeoutMs,
  );

  it.each<[string, HostBpfState, readonly string[], string | undefined, RegExp]>([
    [
      'not mounted, and may not mount',
      'unmounted',
      rootWithoutMount,
      undefined,
      /mount one takes CAP_SYS_ADMIN: as root: mount -t bpf .* pinDirectory .*\/run\/restitch-bpf\/ap1/,
    ],
    [
      'elsewhere on a tmpfs, and may not mount',
      'covered',
      rootWithoutMount,
      '/run/restitch/pins/ap1',
      /at \/run\/restitch\/pins, and .* CAP_SYS_ADMIN: as root: mkdir -p \/run\/restitch\/pins && mount -t bpf/,
    ],
    [
      'covered by another file system',
      'covered',
      [],
      undefined,
      /covers \/sys\/fs\/bpf: name a pinDirectory/,
    ],
    [
      "systemd's, of mode 0700, as another user",
      'shut',
      ordinaryUser,
      undefined,
      /user 65534 cannot make entries .*: name a pinDirectory .* && chown 65534 \/run\/restitch-bpf/,
    ],
    ['in a directory that has something else', 'unmounted', [], '/run/netns/ap1', /hide what it holds/],
    ['under a name no BPF file system takes', 'shut', [], '/sys/fs/bpf/ap.1', /no name with a dot/],
  ])(
    'says what stands in the way and what would help: %s',
    async (_what, state, prefix, pinDirectory, message) => {
      host = await PrivateHost.open(state);
      await host.run('touch', '/run/netns/other');
      await host.run('chmod', '-R', 'a+rX', directory);
      const before = await host.bpfMounts();
      const config = writeConfig(pinDirectory);
      const daemon = host.startRestitch(['access-point', '--config', config], prefix);
      const { code, err } = await daemon.ended;
      expect(err).toMatch(message);
      expect(err).toMatch(/no place for pins at .*\(unsupported_host\)/);
      expect(code).toBe(2);
      expect(await host.bpfMounts()).toEqual(before);
    },
    timeoutMs,
  );

  it(
    'of the systemd unit, an ordinary user, can pin where the unit has mounted, once',
    async () => {
      host = await PrivateHost.open('shut');
      const unit = readFileSync(
        new URL('../../deploy/systemd/restitch-access-point.service', import.meta.url),
        'utf8',
      );
      const command = /^ExecStartPre=\+\/bin\/sh -c '(.*)'$/m.exec(unit)?.[1] ?? 'false';
      const here = command
        .replaceAll('/run/restitch-bpf', '/run/restitch/bpf')
        .replace('chown restitch', 'chown 65534');
      for (let start = 0; start < 2; start++) {
        expect(await host.run('sh', '-c', here)).toMatchObject({ code: 0, err: '' });
      }
      expect(await host.bpfMounts()).toEqual(['/sys/fs/bpf', '/run/restitch/bpf']);
      const script = `import(${JSON.stringify(sys)}).then((m) => console.log(m.inspectBpfDirectory('/run/restitch/bpf/ap1').t))`;
      expect((await host.run(...ordinaryUser, process.execPath, '-e', script)).out).toBe('fit\n');
    },
    timeoutMs,
  );

  it(
    'that starts at the same moment as seven others shares one BPF file system with them',
    async () => {
      host = await PrivateHost.open('unmounted');
      const script = `import(${JSON.stringify(sys)}).then((m) => {
        const logger = { info() { console.log('mounted'); }, warn() {} };
        while (Date.now() < ${Date.now() + 1500});
        m.prepareBpfDirectory('/run/restitch/pins/ap' + process.argv[1], logger);
      })`;
      const runs = Array.from({ length: 8 }, (_, i) => host.run(process.execPath, '-e', script, String(i)));
      const results = await Promise.all(runs);
      for (const { code, err } of results) expect(code, err).toBe(0);
      expect(results.filter(({ out }) => out !== '')).toHaveLength(1);
      expect(await host.bpfMounts()).toEqual(['/run/restitch/pins']);
    },
    timeoutMs,
  );
});

describe('a host agent', () => {
  const group = 4242;
  const asMember = [`--reuid=65534`, `--regid=${group}`, '--clear-groups', '--inh-caps=-all,+net_admin'];
  const start = (pins: string): HostProgram => {
    const socket = join(directory, 'agent.sock');
    const args = ['agent', '--name', 'a', '--interface', 'lo', '--socket', socket, '--pins', pins];
    const agent = host.startRestitch([...args, '--group', String(group)]);
    running.push(agent);
    return agent;
  };

  it(
    'mounts a BPF file system in which applications of its group find the guard',
    async () => {
      host = await PrivateHost.open('unmounted');
      const pins = '/sys/fs/bpf/restitch/guard';
      const agent = start(pins);
      await agent.said('mounted a BPF file system');
      const open = `import(${JSON.stringify(guard)}).then((m) => m.openGuardPins('${pins}').close())`;
      const asApplication = ['setpriv', ...asMember, '--ambient-caps=-all,+net_admin'];
      await expect
        .poll(() => host.run(...asApplication, process.execPath, '-e', open), { timeout: 10_000 })
        .toMatchObject({ code: 0 });
      const stranger = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
      expect((await host.run(...stranger, process.execPath, '-e', open)).code).not.toBe(0);
    },
    timeoutMs,
  );

  it(
    'says so where its group cannot reach the pins',
    async () => {
      host = await PrivateHost.open('shut');
      const { code, err } = await start('/sys/fs/bpf/restitch/guard').ended;
      expect(err).toMatch(
        /group 4242 cannot pass through \/sys\/fs\/bpf \(mode 1700\): name .*--pins.*chmod o\+x/,
      );
      expect(code).toBe(2);
    },
    timeoutMs,
  );
});
