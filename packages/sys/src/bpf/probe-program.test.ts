/** Programs that the kernel takes and refuses, compiled here: a refusal that is only pretended proves nothing. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BpfLoadError, loadBpfObject } from './libbpf.js';
import { probeProgram } from './probe-program.js';

/** One object with a program that is fine and one whose stack index nobody bounds. */
const source = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
SEC("tc") int fine(struct __sk_buff *skb) { return 0; }
SEC("tc") int unbounded(struct __sk_buff *skb) { volatile char bytes[8] = {}; return bytes[skb->len]; }
`;
let directory: string;
let path: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-probe-'));
  path = join(directory, 'two.bpf.o');
  const include = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const args = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I${include}`, '-x', 'c', '-c', '-', '-o', path];
  execFileSync('clang', args, { input: source });
});
afterAll(() => rmSync(directory, { recursive: true }));

const needs = ['access-point'] as const;
const openFiles = (): number => readdirSync('/proc/self/fd').length;

describe('a program', () => {
  it('that the kernel takes is loaded and let go, whatever else is in its object', () => {
    const before = openFiles();
    expect(probeProgram({ program: 'fine', path, needs })).toEqual({
      name: 'program fine',
      isPresent: true,
      needs,
      found: 'loads',
      remedy: '',
    });
    expect(openFiles()).toBe(before);
  });

  it('that the verifier refuses is named with the telling line and the kernels to use', () => {
    const before = openFiles();
    const report = probeProgram({ program: 'unbounded', path, needs });
    expect(report).toMatchObject({ name: 'program unbounded', isPresent: false });
    expect(report.found).toMatch(/^E(ACCES|PERM|INVAL): .*(unbounded|stack)/);
    expect(report.remedy).toMatch(/use a kernel that was tried \(Linux 6\.1, /);
    expect(openFiles()).toBe(before);
  });

  it('keeps the whole log for who asks', () => {
    let error: unknown;
    try {
      loadBpfObject({ path, maps: [], programs: ['unbounded'] });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(BpfLoadError);
    expect((error as BpfLoadError).log.split('\n').length).toBeGreaterThan(3);
  });

  it('that was not built is named with what builds it', () => {
    const absent = probeProgram({ program: 'fine', path: join(directory, 'no.bpf.o'), needs });
    expect(absent).toMatchObject({ isPresent: false, found: expect.stringContaining('ENOENT') });
    expect(absent.remedy).toContain('npm run build');
    const stale = probeProgram({ program: 'another', path, needs });
    expect(stale).toMatchObject({ isPresent: false, found: 'BPF object has no another' });
    expect(stale.remedy).toContain('npm run build');
  });
});

it('an ordinary user is told which capabilities it takes, not to change the kernel', () => {
  const module = new URL('../../dist/bpf/probe-program.js', import.meta.url).href;
  const spec = JSON.stringify({ program: 'fine', path, needs });
  const script = `import(${JSON.stringify(module)}).then((m) => console.log(JSON.stringify(m.probeProgram(${spec}))))`;
  execFileSync('chmod', ['-R', 'a+rX', directory]);
  const user = ['--reuid=65534', '--clear-groups', '--inh-caps=-all', process.execPath, '-e', script];
  const report = JSON.parse(execFileSync('setpriv', user, { encoding: 'utf8' })) as { remedy: string };
  expect(report).toMatchObject({ isPresent: false, found: expect.stringContaining('EPERM') });
  expect(report.remedy).toContain('CAP_BPF');
});
