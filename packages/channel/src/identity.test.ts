import type { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { assertPeerAllowed, certificateIdentity, formatIdentity, parseIdentity } from './identity.js';

function certificate(subjectAltName: string | undefined, ca = false): X509Certificate {
  return { subjectAltName, ca } as X509Certificate;
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    const { code, details } = error as { code: string; details: { reason?: string } };
    return `${code}/${details.reason}`;
  }
  return 'accepted';
}

describe('identity', () => {
  it('is the restitch URI of the certificate, wherever it stands', () => {
    expect(
      certificateIdentity(certificate('DNS:a.example, URI:restitch://lab/endpoint/a, IP Address:10.0.0.1')),
    ).toEqual({ cluster: 'lab', role: 'endpoint', name: 'a' });
  });

  it('is written and read back', () => {
    const identity = { cluster: 'prod-1', role: 'access-point', name: 'ap.one' } as const;
    expect(parseIdentity(formatIdentity(identity))).toEqual(identity);
  });

  it.each([
    ['no names', undefined],
    ['no URI', 'DNS:a'],
    ['another scheme', 'URI:spiffe://lab/endpoint/a'],
    ['two identities', 'URI:restitch://lab/endpoint/a, URI:restitch://lab/endpoint/b'],
    ['an unknown role', 'URI:restitch://lab/root/a'],
    ['an empty name', 'URI:restitch://lab/endpoint/'],
    ['a path below the name', 'URI:restitch://lab/endpoint/a/b'],
    ['a query', 'URI:restitch://lab/endpoint/a?x'],
    ['upper case', 'URI:restitch://lab/endpoint/A'],
    ['a name that hides a separator', 'DNS:"x, URI:restitch://lab/endpoint/a, y"'],
  ])('is refused with %s', (_what, names) => {
    expect(codeOf(() => certificateIdentity(certificate(names)))).toBe('not_authenticated/no_identity');
  });

  it('is never that of an authority', () => {
    expect(codeOf(() => certificateIdentity(certificate('URI:restitch://lab/endpoint/a', true)))).toBe(
      'not_authenticated/no_identity',
    );
  });

  it.each([
    ['lab', 'endpoint', 'a', 'accepted'],
    ['lab', 'endpoint', 'b', 'forbidden/wrong_name'],
    ['lab', 'operator', 'a', 'forbidden/wrong_role'],
    ['other', 'endpoint', 'a', 'forbidden/wrong_cluster'],
  ] as const)('%s/%s/%s against endpoint a of lab: %s', (cluster, role, name, expected) => {
    const run = (): void =>
      assertPeerAllowed({ cluster, role, name }, 'lab', [{ role: 'endpoint', name: 'a' }]);
    expect(codeOf(run)).toBe(expected);
  });

  it('cannot be written for a name a certificate cannot carry', () => {
    expect(codeOf(() => formatIdentity({ cluster: 'lab', role: 'endpoint', name: 'a/b' }))).toContain(
      'usage',
    );
  });
});
