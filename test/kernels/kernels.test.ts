/**
 * Every program × every kernel that README, operations.md and `check` name: Debian's kernels in qemu, and the one that
 * runs these tests. Inside runs the real `restitch check`, so what it says of a kernel is what the kernel did.
 */
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { oldestKernel, triedKernels } from '@restitch/sys';
import { createHostFacts } from '../../packages/cli/src/check/host-facts.js';
import { bootLimitSeconds, runInKernel } from './boot.js';

const limitMs = (bootLimitSeconds + 60) * 1000;
/** In Debian 12. The newest was tried on a machine of its own. */
const booted = ['6.1', '6.12'] as const;

/** name → what `check` found. */
type Found = ReadonlyMap<string, string>;

async function checkInKernel(line: string): Promise<Found> {
  const text = await runInKernel(line, 'check-job.sh');
  const { checks } = JSON.parse(text) as { checks: Array<{ name: string; found: string }> };
  return new Map(checks.map(({ name, found }) => [name, found]));
}

/** Names of all programs, from the C sources. */
function programs(): string[] {
  const packages = fileURLToPath(new URL('../../packages', import.meta.url));
  return ['dataplane', 'guard'].flatMap((room) => {
    const directory = join(packages, room, 'bpf');
    const sources = readdirSync(directory).filter((file) => file.endsWith('.bpf.c'));
    return sources.flatMap((file) => {
      const text = readFileSync(join(directory, file), 'utf8');
      return [...text.matchAll(/^SEC\("[^"]+"\)\nint (\w+)\(/gm)].map(([, name]) => name ?? '');
    });
  });
}

const all = programs();
// At once: each takes one processor. A failure is that of the tests that wait for it.
const checks = new Map(booted.map((line) => [line, checkInKernel(line)]));
for (const check of checks.values()) check.catch(() => undefined);

describe.each(booted)('Linux %s', (line) => {
  it(
    'boots and says so',
    async () => {
      expect((await checks.get(line))?.get('kernel')).toMatch(new RegExp(`^${line.replace('.', '\\.')}\\.`));
    },
    limitMs,
  );

  it.each(all)(
    'loads %s',
    async (program) => {
      expect((await checks.get(line))?.get(`program ${program}`)).toBe('loads');
    },
    limitMs,
  );
});

describe(`the running kernel, ${release()}`, () => {
  const features = createHostFacts(release()).features();
  it.each(all)('loads %s', async (program) => {
    expect((await features).find((f) => f.name === `program ${program}`)?.found).toBe('loads');
  });
});

it('the kernels that are said to be tried are those that are tried here', () => {
  expect(triedKernels).toEqual([...booted, '6.18']);
  expect(booted).toContain(oldestKernel);
  expect(all.length).toBeGreaterThanOrEqual(6);
});

describe('a kernel that cannot be tried', () => {
  it(
    'because apt knows no package of it, is an error that says so',
    async () => {
      await expect(runInKernel('5.99', 'check-job.sh')).rejects.toThrow('no package of a 5.99 kernel');
    },
    limitMs,
  );

  it('because qemu cannot be installed, is an error that says so', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'restitch-path-'));
    for (const tool of ['bash', 'dirname']) symlinkSync(`/usr/bin/${tool}`, join(directory, tool));
    writeFileSync(join(directory, 'apt-get'), '#!/bin/sh\nexit 100\n');
    chmodSync(join(directory, 'apt-get'), 0o755);
    const withoutQemu = runInKernel('6.1', 'check-job.sh', { PATH: directory });
    await expect(withoutQemu).rejects.toThrow(
      /cannot install qemu-system-x86.*nothing is known of Linux 6\.1/,
    );
    rmSync(directory, { recursive: true });
  });
});
