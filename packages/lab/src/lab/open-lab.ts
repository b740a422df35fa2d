/** Brings a laboratory up: network, certificates, access point, endpoints. */
import { randomInt } from 'node:crypto';
import { toRestitchError } from '@restitch/core';
import { assertLabHost } from '@restitch/console';
import { Lab } from './lab.js';
import type { LabServices } from './lab-config.js';
import { planClientAddresses, planEndpoint } from './lab-plan.js';
import { isOwned, listLabIds, readLabState } from './lab-state.js';
import { identifyProcess } from './process-identity.js';
import {
  awaitHealthy,
  prepareAccessPoint,
  startAccessPoint,
  startAgent,
  startEndpoint,
} from './start-parties.js';
import { joinClientByLink } from './start-link.js';

/** What a laboratory should be like. */
export interface LabOptions extends LabServices {
  readonly endpoints: number;
  readonly ipv6: boolean;
  readonly rttMs: number;
  readonly lossRatio: number;
  /** Delay from client to bridge; half the round trip if left out. */
  readonly upMs?: number;
  /** Only namespaces and links, no access point and no endpoints. */
  readonly isNetworkOnly?: boolean;
  /** Of the link's losses. */
  readonly seed?: number;
  /** Stays when this process ends; `lab down` removes it. */
  readonly isKept: boolean;
  readonly id?: string;
  /** Addresses the client has beside its own. */
  readonly extraClientAddresses?: number;
}

/** Builds a laboratory; takes everything down again if a step fails. */
export async function openLab(options: LabOptions, progress: (text: string) => void): Promise<Lab> {
  await assertLabHost();
  await removeAbandonedLabs();
  const self = identifyProcess(process.pid);
  const lab = Lab.create({
    id: options.id ?? createLabId(),
    owner: options.isKept || self === undefined ? { pid: 0, startTicks: 0 } : self,
    ipv6: options.ipv6,
    rttMs: options.rttMs,
    lossRatio: options.lossRatio,
    endpoints: [],
    namespaces: [],
    cgroups: [],
    processes: [],
  });
  try {
    progress(`laboratory ${lab.plan.id}: network`);
    lab.mountBpf();
    lab.buildFabric();
    lab.join(lab.plan.accessPoint);
    await joinClient(lab, options);
    const endpoints = Array.from({ length: options.endpoints }, (_, i) => planEndpoint(lab.plan, i));
    for (const party of endpoints) lab.join(party);
    if (options.isNetworkOnly === true) return lab;
    progress(`laboratory ${lab.plan.id}: access point and ${options.endpoints} endpoints`);
    await prepareAccessPoint(lab, options);
    await startAccessPoint(lab);
    if (options.isProtected === true) await startAll(endpoints.map((party) => startAgent(lab, party)));
    await startAll(endpoints.map((party) => startEndpoint(lab, party, options)));
    await awaitHealthy(
      lab,
      endpoints.map((party) => party.name),
    );
    return lab;
  } catch (error) {
    progress(lab.lastLogLines());
    await lab.down();
    throw toRestitchError(error);
  }
}

/** Waits for all before one failure counts: what is still starting could not be taken down. */
async function startAll(starts: ReadonlyArray<Promise<void>>): Promise<void> {
  const failed = (await Promise.allSettled(starts)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw toRestitchError(failed.reason);
}

async function joinClient(lab: Lab, options: LabOptions): Promise<void> {
  const join = { extraIpv4: planClientAddresses(options.extraClientAddresses ?? 0) };
  const upMs = options.upMs ?? options.rttMs / 2;
  const { lossRatio, seed = 1 } = options;
  if (options.rttMs === 0 && lossRatio === 0 && upMs === 0) {
    lab.join(lab.plan.client, join);
    return;
  }
  await joinClientByLink(lab, { upMs, downMs: options.rttMs - upMs, lossRatio, seed }, join);
}

/** Takes down laboratories whose maker has died; those of "lab up" stay. */
async function removeAbandonedLabs(): Promise<void> {
  for (const id of listLabIds()) {
    const state = readLabState(id);
    if (state.owner.pid !== 0 && !isOwned(state)) await Lab.attach(id).down();
  }
}

function createLabId(): string {
  return randomInt(36 ** 4, 36 ** 5).toString(36);
}
