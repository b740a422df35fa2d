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
import type { CheckResult } from '../../packages/console/src/host/check-host.js';
import { createHostFacts } from '../../packages/console/src/host/host-facts.js';
import { bootLimitSeconds, runInKernel } from './boot.js';

const limitMs = (bootLimitSeconds + 60) * 1000;
/** In Debian 12. The newest was tried on a machine of its own. */
const booted = ['6.1', '6.12'] as const;

/** What these kernels are too old for, and do without. */
const absent = { '6.1': ['tcp-info-timeouts', 'tcp-rto-max'], '6.12': ['tcp-rto-max'] } as const;

async function checkInKernel(line: string): Promise<readonly CheckResult[]> {
  const text = await runInKernel(line, 'check-job.sh');
  return (JSON.parse(text) as { checks: CheckResult[] }).checks;
}

function found(results: readonly CheckResult[] | undefined, name: string): string | undefined {
  return results?.find((result) => result.name === name)?.found;
}

/** Names of all programs, from the C sources. */
function programs(): string[] {
  const rooms = fileURLToPath(new URL('../../bpf', import.meta.url));
  return ['steering', 'guard'].flatMap((room) => {
    const directory = join(rooms, room);
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
      expect(found(await checks.get(line), 'kernel')).toMatch(new RegExp(`^${line.replace('.', '\\.')}\\.`));
    },
    limitMs,
  );

  it.each(all)(
    'loads %s',
    async (program) => {
      expect(found(await checks.get(line), `program ${program}`)).toBe('loads');
    },
    limitMs,
  );

  it(
    'lacks nothing that is needed, and what it is too old for is named',
    async () => {
      const results = (await checks.get(line)) ?? [];
      const lacking = (status: string) =>
        results.filter((r) => r.status === status && r.group !== 'packages');
      expect(lacking('missing')).toEqual([]);
      expect(lacking('absent').map((r) => r.name)).toEqual(absent[line]);
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
