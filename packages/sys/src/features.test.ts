import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { effectiveCapabilities } from './capabilities.js';
import { probeFeatures } from './features.js';
import { raiseFileLimit, readFileLimit } from './process-limits.js';

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

describe('this process', () => {
  it('has the capabilities of root', () => {
    expect(effectiveCapabilities().has('CAP_NET_ADMIN')).toBe(true);
  });

  it('may take all descriptors it is allowed', () => {
    const { soft, hard } = raiseFileLimit();
    expect(soft).toBe(hard);
    expect(readFileLimit()).toEqual({ soft, hard });
  });
});
