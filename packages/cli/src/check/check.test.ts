import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '@restitch/access-point/internal';
import { systemClock } from '@restitch/core';
import { oldestKernel, triedKernels } from '@restitch/sys';
import type { FeatureReport } from '@restitch/sys';
import { type BpfDirectoryState, probeProgram } from '@restitch/sys/internal';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDevPki } from '@restitch/pki';
import { assertLabHost } from '@restitch/console';
import { checkBpfDirectory } from '@restitch/console';
import { registerCheckCommands } from './check-commands.js';
import { configChecks } from './check-config.js';
import { type CheckResult, type HostRole, checkFeatures, hostChecks, runChecks } from '@restitch/console';
import { type HostFacts, createHostFacts } from '@restitch/console';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-check-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const features: readonly FeatureReport[] = [
  { name: 'tcp-repair', isPresent: true, needs: ['endpoint'], found: 'works', remedy: '' },
  { name: 'bpf', isPresent: true, needs: ['access-point'], found: 'works', remedy: '' },
  { name: 'sock-diag', isPresent: true, needs: ['optional'], found: 'works', remedy: '' },
];
const noFeatures = features.map((f) => ({ ...f, isPresent: false, found: 'EPERM', remedy: 'get it' }));

/** A host that has everything; parts of it can be taken away. */
function goodHost(
  change: Partial<HostFacts> & { files?: Record<string, string | undefined> } = {},
): HostFacts {
  const files: Record<string, string | undefined> = {
    '/proc/sys/net/core/bpf_jit_enable': '1\n',
    '/sys/class/net/eth0/operstate': 'up\n',
    ...change.files,
  };
  const real = createHostFacts('6.1.0');
  return {
    platform: 'linux',
    kernelRelease: '6.1.0-18-amd64',
    nodeVersion: '20.20.2',
    readText: (path) => (path.startsWith(directory) ? real.readText(path) : files[path]),
    exists: () => true,
    addresses: () => [
      { interfaceName: 'eth0', address: '10.0.0.1' },
      { interfaceName: 'eth0', address: '10.0.0.100' },
      { interfaceName: 'eth0', address: 'fe80::1%eth0' },
    ],
    features: async () => features,
    bpfDirectory: async () => ({ t: 'fit' }),
    capabilities: async () => new Set(['CAP_SYS_ADMIN'] as const),
    fileLimit: async () => 1_048_576,
    nodeFault: async () => undefined,
    findProgram: (name) => `/usr/bin/${name}`,
    findLibrary: (name) => `/usr/lib/${name}`,
    run: async () => '[{"dst":"10.0.0.11","lladdr":"02:00:00:00:00:01","state":["REACHABLE"]}]',
    ...change,
  };
}

async function lacking(role: HostRole, facts: HostFacts): Promise<Array<[string, string]>> {
  const results = [...(await runChecks(hostChecks, role, facts)), ...(await checkFeatures(role, facts))];
  for (const r of results) if (r.status !== 'ok') expect(r.remedy, r.name).not.toBe('');
  return results.filter((r) => r.status !== 'ok').map((r) => [r.name, r.status]);
}

describe('a host', () => {
  it.each(['access-point', 'endpoint', 'lab'] as const)(
    'that has everything lacks nothing as %s',
    async (role) => {
      expect(await lacking(role, goodHost())).toEqual([]);
    },
  );

  it('is told what it lacks, needed or merely useful, by its role', async () => {
    const bare = goodHost({ findProgram: () => undefined, findLibrary: () => undefined });
    expect(await lacking('lab', bare)).toEqual([
      ['clang', 'absent'],
      ['bpftool', 'absent'],
      ['ip', 'missing'],
      ['nft', 'missing'],
      ['nsenter', 'missing'],
      ['curl', 'absent'],
      ['libbpf.so.1', 'missing'],
    ]);
    expect(await lacking('endpoint', bare)).toEqual([['ip', 'absent']]);
  });

  it.each([
    ['an old kernel', { kernelRelease: '5.10.0-28' }, 'kernel 6.1 or newer', 'missing'],
    ['a kernel just too old', { kernelRelease: '6.0.19' }, 'kernel 6.1 or newer', 'missing'],
    ['an old Node', { nodeVersion: '18.19.0' }, 'Node.js 20 to 26', 'missing'],
    ['a newer Node than was tested', { nodeVersion: '27.0.0' }, 'Node.js 20 to 26', 'missing'],
    ['no JIT', { files: { '/proc/sys/net/core/bpf_jit_enable': '0\n' } }, 'BPF JIT', 'absent'],
    [
      'a strict connection tracker',
      { files: { '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal': '0\n' } },
      'connection tracking lets moved sessions pass',
      'absent',
    ],
  ] as const)('with %s', async (_what, change, name, status) => {
    expect(await lacking('access-point', goodHost(change))).toEqual([[name, status]]);
  });

  it('is told which features its role lacks, and which would only be good to have', async () => {
    const bare = goodHost({ features: async () => noFeatures });
    expect(await lacking('endpoint', bare)).toEqual([
      ['tcp-repair', 'missing'],
      ['sock-diag', 'absent'],
    ]);
    expect(await lacking('access-point', bare)).toEqual([
      ['bpf', 'missing'],
      ['sock-diag', 'absent'],
    ]);
    expect(await lacking('lab', bare)).toEqual([
      ['tcp-repair', 'missing'],
      ['bpf', 'missing'],
      ['sock-diag', 'absent'],
    ]);
  });

  it('is told which of our programs its kernel refuses, each by itself, with the line that says why', async () => {
    const path = compileRefused();
    const needs = ['access-point'] as const;
    const tried = ['steer', 'reenter'].map((program) => probeProgram({ program, path, needs }));
    const guarded = ['guard_egress', 'guard_control'].map((program) =>
      probeProgram({ program, path, needs: ['agent'] }),
    );
    const odd = goodHost({ features: async () => [...features, ...tried, ...guarded] });
    expect(await lacking('access-point', odd)).toEqual([['program steer', 'missing']]);
    expect(await lacking('endpoint', odd)).toEqual([['program guard_egress', 'absent']]);
    expect(await lacking('lab', odd)).toEqual([
      ['program steer', 'missing'],
      ['program guard_egress', 'missing'],
    ]);
    const listed = await run(odd, 'check');
    expect(listed.code).toBe('unsupported_host');
    expect(listed.out).toMatch(/MISSING {2}program steer +E\w+: .*stack.*\n +→ use a kernel that was tried/);
    expect(listed.out).toMatch(/ok {7}program reenter +loads\n/);
    await expect(assertLabHost(odd, 0)).rejects.toMatchObject({
      code: 'unsupported_host',
      message: expect.stringMatching(/^program steer is missing: use a kernel that was tried/),
    });
  });

  it('is told in one line when its kernel cannot be asked at all', async () => {
    const fail = () => Promise.reject(new Error('no libc.so.6'));
    const alien = goodHost({ features: fail, bpfDirectory: fail, capabilities: fail, fileLimit: fail });
    expect(await lacking('lab', alien)).toEqual([
      ['room for open files', 'absent'],
      ['CAP_SYS_ADMIN', 'missing'],
      ['system calls', 'missing'],
    ]);
  });

  const places: ReadonlyArray<[string, BpfDirectoryState, HostRole, CheckResult['status']]> = [
    ['has', { t: 'fit' }, 'access-point', 'ok'],
    ['is not mounted', { t: 'mountable', mountPoint: '/sys/fs/bpf' }, 'access-point', 'absent'],
    ['is not mounted', { t: 'mountable', mountPoint: '/sys/fs/bpf' }, 'endpoint', 'absent'],
    ['is not mounted', { t: 'mountable', mountPoint: '/sys/fs/bpf' }, 'lab', 'ok'],
    ['is covered', { t: 'unfit', why: 'covered', remedy: 'uncover it' }, 'access-point', 'missing'],
    ['is covered', { t: 'unfit', why: 'covered', remedy: 'uncover it' }, 'endpoint', 'absent'],
    ['is covered', { t: 'unfit', why: 'covered', remedy: 'uncover it' }, 'lab', 'ok'],
  ];
  it.each(places)('whose BPF file system %s: %o as %s is %s', async (_what, state, role, status) => {
    const [line, ...more] = await checkBpfDirectory(
      '/p',
      role,
      goodHost({ bpfDirectory: async () => state }),
    );
    expect(more).toEqual([]);
    expect(line?.status).toBe(status);
    expect(line?.remedy === '').toBe(status === 'ok');
    if (state.t === 'unfit') expect(line?.found).toContain('covered');
  });

  it('is told of a Node that hides its handles, where sessions are to live', async () => {
    const odd = goodHost({ nodeFault: async () => 'no _handle.fd' });
    expect(await lacking('endpoint', odd)).toEqual([['Node.js shows the handles of its sockets', 'missing']]);
    expect(await lacking('access-point', odd)).toEqual([]);
  });

  it('is this one, too', async () => {
    const facts = createHostFacts(release());
    const results = [...(await runChecks(hostChecks, 'lab', facts)), ...(await checkFeatures('lab', facts))];
    expect(results.find((r) => r.name === 'Linux')).toMatchObject({ status: 'ok', found: release() });
    expect(results.find((r) => r.name === 'Node.js 20 to 26')).toMatchObject({
      found: process.versions.node,
    });
  });
});

/** An object like ours, in which two of four programs index the stack with a number nobody bounds. */
function compileRefused(): string {
  const path = join(directory, 'refused.bpf.o');
  const fine = (name: string): string => `SEC("tc") int ${name}(struct __sk_buff *skb) { return 0; }`;
  const refused = (name: string): string =>
    `SEC("tc") int ${name}(struct __sk_buff *skb) { volatile char b[8] = {}; return b[skb->len]; }`;
  const head =
    '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar _license[] SEC("license") = "GPL";';
  const input = [head, refused('steer'), fine('reenter'), refused('guard_egress'), fine('guard_control')];
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const args = ['-O2', '-g', '-target', 'bpf', include, '-x', 'c', '-c', '-', '-o', path];
  execFileSync('clang', args, { input: input.join('\n') });
  return path;
}

async function writeConfig(): Promise<string> {
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'lab' });
  const tls = await pki.issue('access-point', 'ap1');
  const file = join(directory, 'ap.yaml');
  writeFileSync(
    file,
    `name: ap1
cluster: lab
interface: eth0
adminSocket: ${directory}/ap1.sock
control:
  listen: 10.0.0.1:7400
  tls: {cert: ${tls.certFile}, key: ${tls.keyFile}, ca: ${tls.caFile}}
listeners:
  - {name: web, vip: "10.0.0.100:8080"}
  - {name: admin, vip: "10.0.0.100:8081"}
`,
  );
  return file;
}

describe('a host against its configuration', () => {
  async function against(facts: HostFacts, clock = systemClock): Promise<CheckResult[]> {
    const text = facts.readText(await writeConfig()) ?? '';
    return runChecks(configChecks(parseConfig(text), clock), 'access-point', facts);
  }
  const notOk = (results: CheckResult[]): string[] =>
    results.filter((r) => r.status !== 'ok').map((r) => r.name);

  it('is good when it has interface, VIP, address, neighbours and certificates', async () => {
    const results = await against(goodHost());
    expect(notOk(results)).toEqual([]);
    expect(results.filter((r) => r.name.startsWith('VIP'))).toHaveLength(1);
    expect(results.find((r) => r.name.startsWith('certificate of'))?.found).toBe(
      'restitch://lab/access-point/ap1',
    );
  });

  it('is good while two authorities stand in one file', async () => {
    const facts = goodHost();
    const file = await writeConfig();
    const other = await createDevPki(join(directory, 'other'), { cluster: 'lab' });
    const config = parseConfig(facts.readText(file) ?? '');
    const { caFile } = config.control.tls;
    writeFileSync(caFile, `${facts.readText(other.caFile)}${facts.readText(caFile)}`);
    expect(notOk(await runChecks(configChecks(config, systemClock), 'access-point', facts))).toEqual([]);
    writeFileSync(caFile, facts.readText(other.caFile) ?? '');
    expect(notOk(await runChecks(configChecks(config, systemClock), 'access-point', facts))).toEqual([
      'certificate of ap1',
    ]);
  });

  it('is told that the VIP is on another interface', async () => {
    const facts = goodHost({
      addresses: () => [
        { interfaceName: 'eth0', address: '10.0.0.1' },
        { interfaceName: 'lo', address: '10.0.0.100' },
      ],
    });
    expect(notOk(await against(facts))).toEqual(['VIP 10.0.0.100 on eth0']);
  });

  it('is told of an interface that is down and neighbours nobody knows', async () => {
    const facts = goodHost({ files: { '/sys/class/net/eth0/operstate': 'down\n' }, run: async () => '[]' });
    expect(notOk(await against(facts))).toEqual(['interface eth0', 'neighbours on eth0']);
  });

  it('is told of a certificate that has ended, and of one that soon will', async () => {
    const later = (days: number) => ({ ...systemClock, wallMs: () => Date.now() + days * 86_400_000 });
    expect(notOk(await against(goodHost(), later(80)))).toEqual(['certificate lasts 14 days']);
    rmSync(join(directory, 'pki'), { recursive: true });
    expect(notOk(await against(goodHost(), later(91)))).toEqual([
      'certificate of ap1',
      'certificate lasts 14 days',
    ]);
  });
});

async function run(facts: HostFacts, ...args: string[]): Promise<{ out: string; code: string }> {
  let out = '';
  const program = new Command('restitch').exitOverride().configureOutput({ writeErr: () => undefined });
  registerCheckCommands(program, { out: (text) => void (out += text), facts, clock: systemClock });
  const code = await program.parseAsync(args, { from: 'user' }).then(
    () => 'done',
    (error: { code: string }) => error.code,
  );
  return { out, code };
}

describe('the documents', () => {
  const read = (path: string): string =>
    readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8');

  it.each(['README.md', 'docs/operations.md'])('name the oldest kernel that check names: %s', (path) => {
    const claims = [...read(path).matchAll(/Linux (\d+\.\d+) or newer/g)].map(([, line]) => line);
    expect(new Set(claims)).toEqual(new Set([oldestKernel]));
    expect(hostChecks.map((c) => c.name)).toContain(`kernel ${oldestKernel} or newer`);
  });

  it('list the kernels that were tried, and no other', () => {
    const rows = [...read('docs/operations.md').matchAll(/^\| (\d+\.\d+)[^|]*\|/gm)].map(([, line]) => line);
    expect(rows).toEqual([...triedKernels]);
  });
});

describe('the commands', () => {
  it('check: a list for people, one object for programs, an error when something is missing', async () => {
    const good = await run(goodHost(), 'check', await writeConfig(), '--json');
    expect(JSON.parse(good.out)).toMatchObject({ ok: true, role: 'access-point' });
    expect(good.code).toBe('done');
    const bad = await run(goodHost({ findLibrary: () => undefined }), 'check');
    expect(bad.code).toBe('unsupported_host');
    const unfit = { t: 'unfit', why: 'a tmpfs covers it', remedy: 'pinDirectory elsewhere' } as const;
    const file = `${directory}/ap.yaml`;
    const covered = await run(goodHost({ bpfDirectory: async () => unfit }), 'check', file);
    expect(covered.code).toBe('unsupported_host');
    expect(covered.out).toMatch(
      /MISSING {2}pins in \/sys\/fs\/bpf\/restitch\/ap1 +a tmpfs covers it\n +→ pinDirectory elsewhere/,
    );
    expect(bad.out).toMatch(/MISSING {2}libbpf\.so\.1 +not there\n +→ apt-get install libbpf1/);
  });

  it('validate: good, or every issue with its place', async () => {
    const file = await writeConfig();
    expect(await run(goodHost(), 'validate', file)).toEqual({ out: `${file}: good\n`, code: 'done' });
    writeFileSync(file, 'name: ap1\nclaster: x\n');
    const bad = await run(goodHost(), 'validate', file, '--json');
    expect(bad.code).toBe('config_invalid');
    const { ok, issues } = JSON.parse(bad.out) as {
      ok: boolean;
      issues: Array<{ path: string; line: number }>;
    };
    expect(ok).toBe(false);
    expect(issues.find((i) => i.path === 'claster')).toMatchObject({
      line: 2,
      remedy: 'did you mean cluster?',
    });
  });

  it('refuse a file that is not there and a role nobody has', async () => {
    expect((await run(goodHost(), 'validate', join(directory, 'nothing.yaml'))).code).toBe('usage');
    expect((await run(goodHost(), 'check', '--role', 'king')).code).toBe('commander.invalidArgument');
  });
});
