import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDevPki, openDevPki } from './dev-pki.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-pki-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  return run().then(
    () => 'done',
    (error: { code: string }) => error.code,
  );
}

function read(file: string): X509Certificate {
  return new X509Certificate(readFileSync(file));
}

describe('development PKI', () => {
  it('issues certificates that its authority signed and that carry the identity', async () => {
    const pki = await createDevPki(directory, { cluster: 'lab' });
    const files = await pki.issue('endpoint', 'a');
    const ca = read(files.caFile);
    const certificate = read(files.certFile);
    expect(ca.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.checkIssued(ca)).toBe(true);
    expect(certificate.subjectAltName).toBe('URI:restitch://lab/endpoint/a');
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(90);
  });

  it('keeps keys to their owner', async () => {
    const pki = await createDevPki(join(directory, 'pki'));
    const files = await pki.issue('operator', 'op');
    for (const key of [files.keyFile, join(directory, 'pki', 'ca.key')]) {
      expect(statSync(key).mode & 0o777).toBe(0o600);
    }
    expect(statSync(join(directory, 'pki')).mode & 0o777).toBe(0o700);
  });

  it('replaces nothing unless forced', async () => {
    const pki = await createDevPki(directory);
    const files = await pki.issue('endpoint', 'a');
    const before = readFileSync(files.certFile, 'utf8');
    expect(await codeOf(() => createDevPki(directory))).toBe('usage');
    expect(await codeOf(() => pki.issue('endpoint', 'a'))).toBe('usage');
    expect(readFileSync(files.certFile, 'utf8')).toBe(before);
    await pki.issue('endpoint', 'a', { force: true });
    expect(readFileSync(files.certFile, 'utf8')).not.toBe(before);
  });

  it('goes on with an authority made earlier', async () => {
    await createDevPki(directory, { cluster: 'lab' });
    const again = await openDevPki(directory);
    expect(again.cluster).toBe('lab');
    const files = await again.issue('access-point', 'ap');
    expect(read(files.certFile).checkIssued(read(again.caFile))).toBe(true);
  });

  it.each([
    ['a name no certificate carries', () => createDevPki(directory).then((p) => p.issue('endpoint', 'A b'))],
    ['a cluster no certificate carries', () => createDevPki(directory, { cluster: 'no/slash' })],
    ['a directory without an authority', () => openDevPki(directory)],
  ])('refuses %s', async (_what, run) => {
    expect(await codeOf(run)).toBe('usage');
  });

  it('never makes a certificate that outlives its authority', async () => {
    const pki = await createDevPki(directory, { validDays: 10 });
    const files = await pki.issue('endpoint', 'a', { validDays: 100 });
    expect(Date.parse(read(files.certFile).validTo)).toBeLessThanOrEqual(
      Date.parse(read(files.caFile).validTo),
    );
  });
});
