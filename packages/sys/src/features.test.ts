import { execFileSync } from 'node:child_process';
import { release } from 'node:os';
import { describe, expect, it } from 'vitest';
import { effectiveCapabilities } from './capabilities.js';
import { probeFeatures } from './features.js';
import { isKernelAtLeast } from './kernels.js';
import { readFileLimit } from './process-limits.js';

const report = (name: string) => probeFeatures().find((feature) => feature.name === name);

describe('probeFeatures', () => {
  it('finds what this root and this kernel have, and a remedy for all that is missing', () => {
    expect(report('tcp-repair')).toMatchObject({ isPresent: true, needs: ['endpoint'], remedy: '' });
    expect(report('tcp-repair-window')).toMatchObject({ isPresent: true });
    expect(report('cap-net-admin')).toMatchObject({ isPresent: true, found: 'effective' });
    for (const { isPresent, remedy, found } of probeFeatures()) {
      expect(found).not.toBe('');
      expect(remedy === '').toBe(isPresent);
    }
  });

  it.each([
    ['tcp-info-timeouts', '6.7'],
    ['tcp-rto-max', '6.15'],
  ])('%s is there from Linux %s on, and there only', (name, line) => {
    expect(report(name)?.isPresent).toBe(isKernelAtLeast(release(), line));
  });

  it('an ordinary user lacks TCP_REPAIR and is told what to do', () => {
    const features = new URL('../dist/features.js', import.meta.url);
    const script = `import(${JSON.stringify(features.href)}).then((m) => console.log(JSON.stringify(m.probeFeatures())))`;
    const out = execFileSync(
      'setpriv',
      ['--reuid=65534', '--clear-groups', '--inh-caps=-all', process.execPath, '-e', script],
      { encoding: 'utf8' },
    );
    const found = (JSON.parse(out) as ReturnType<typeof probeFeatures>).find((f) => f.name === 'tcp-repair');
    expect(found).toMatchObject({ isPresent: false, found: expect.stringContaining('EPERM') });
    expect(found?.remedy).toContain('CAP_NET_ADMIN');
  });
});

/** Runs a script with the built capabilities module as `m`. */
function runInChild(script: string): string {
  const module = new URL('../dist/capabilities.js', import.meta.url);
  const code = `import(${JSON.stringify(module.href)}).then((m) => { ${script} })`;
  return execFileSync(process.execPath, ['-e', code], { encoding: 'utf8' });
}

describe('this process', () => {
  it('has the capabilities of root, and can keep but one', () => {
    expect(effectiveCapabilities().has('CAP_SYS_ADMIN')).toBe(true);
    const kept = `m.keepCapabilities(['CAP_NET_ADMIN']); console.log([...m.effectiveCapabilities()].join())`;
    expect(runInChild(kept).trim()).toBe('CAP_NET_ADMIN');
  });

  it('knows how many descriptors it may have', () => {
    const { soft, hard } = readFileLimit();
    expect(soft).toBeGreaterThan(255);
    expect(hard).toBeGreaterThanOrEqual(soft);
  });
});
