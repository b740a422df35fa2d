/** The contract of an access point, on the scripted one that endpoints are tested with and on the daemon over the fake data plane. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AccessPoint, openAccessPoint } from '@restitch/access-point';
import type { TlsFiles } from '@restitch/channel';
import { RestitchError, isErrorCode, systemClock } from '@restitch/core';
import { afterAll, beforeAll, describe } from 'vitest';
import { FakeDataplane } from '../../../packages/access-point/src/testing/fake-dataplane.js';
import { testConfig } from '../../../packages/access-point/src/testing/test-config.js';
import { createDevPki } from '../../../packages/pki/src/dev-pki.js';
import { accessPointContract } from './access-point-contract.js';
import { FakeAccessPoint } from './fake-access-point.js';
import { until } from './streams.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-access-point-'));
const files = new Map<string, TlsFiles>();
let accessPointFiles: TlsFiles;

beforeAll(async () => {
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
  accessPointFiles = await pki.issue('access-point', 'ap');
  for (const name of ['a', 'b']) files.set(name, await pki.issue('endpoint', name));
});
afterAll(() => rmSync(directory, { recursive: true }));

function filesOf(name: string): TlsFiles {
  const found = files.get(name);
  if (found === undefined) throw new RestitchError('usage', `no certificate for ${name}`);
  return found;
}

describe('the scripted one', () => {
  let fake: FakeAccessPoint | undefined;
  afterAll(() => fake?.close());

  accessPointContract(async () => {
    fake = await FakeAccessPoint.open('127.0.0.1', accessPointFiles);
    const { port } = fake;
    const accessPoint = fake;
    let moves = 0;
    return {
      port,
      filesOf,
      move: (report, from, to) =>
        accessPoint.move({ moveId: `scripted-${++moves}`, report, from, to, onSwitch: () => undefined }),
      publishPeers: () => accessPoint.publishPeers(),
    };
  });
});

describe('the daemon', () => {
  let daemon: AccessPoint | undefined;
  afterAll(() => daemon?.close());

  accessPointContract(async () => {
    // A busy machine is not what is tested: only what is said, and in which order.
    const config = testConfig(
      directory,
      'moves: {budget: 5s}\nhealth: {heartbeat: 200ms, suspectAfter: 20s, deadAfter: 40s}',
    );
    daemon = await openAccessPoint({
      config: {
        ...config,
        control: { ...config.control, listen: { address: '127.0.0.1', port: 0 }, tls: accessPointFiles },
      },
      dataplane: new FakeDataplane(systemClock),
    });
    const { controlPort, state } = daemon;
    return {
      port: controlPort,
      filesOf,
      move: async ({ id }, _from, to) => {
        await until(
          () => state.sessions.byId(id) !== undefined && state.endpoints.byName(to)?.isAccepting === true,
        );
        const { record } = await state.coordinator.migrate({ sessionId: id, target: to, origin: 'manual' });
        if (record.outcome === 'committed') return;
        const { code = 'internal', message = record.outcome } = record.failure ?? {};
        throw new RestitchError(isErrorCode(code) ? code : 'internal', message);
      },
      publishPeers: () => undefined,
    };
  });
});
