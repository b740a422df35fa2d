/** Brings a laboratory up: network, certificates, access point, endpoints. */
import { randomInt } from 'node:crypto';
import { toRestitchError } from '@restitch/core';
import { Lab } from './lab.js';
import { planClientAddresses, planEndpoint } from './lab-plan.js';
import { isOwned, listLabIds, readLabState } from './lab-state.js';
import { identifyProcess } from './process-identity.js';

/** What a laboratory should be like. */
export interface LabOptions {
  readonly endpoints: number;
  readonly ipv6: boolean;
  readonly rttMs: number;
  readonly lossRatio: number;
  /** Stays when this process ends; `lab down` removes it. */
  readonly isKept: boolean;
  readonly id?: string;
  /** Addresses the client has beside its own. */
  readonly extraClientAddresses?: number;
}

/** Builds a laboratory; takes everything down again if a step fails. */
export async function openLab(options: LabOptions, progress: (text: string) => void): Promise<Lab> {
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
    lab.buildFabric();
    lab.join(lab.plan.accessPoint);
    lab.join(lab.plan.client, { extraIpv4: planClientAddresses(options.extraClientAddresses ?? 0) });
    for (let i = 0; i < options.endpoints; i++) lab.join(planEndpoint(lab.plan, i));
    return lab;
  } catch (error) {
    await lab.down();
    throw toRestitchError(error);
  }
}

/** Takes down laboratories whose maker has died; those of "lab up" stay. */
export async function removeAbandonedLabs(): Promise<void> {
  for (const id of listLabIds()) {
    const state = readLabState(id);
    if (state.owner.pid !== 0 && !isOwned(state)) await Lab.attach(id).down();
  }
}

function createLabId(): string {
  return randomInt(36 ** 4, 36 ** 5).toString(36);
}
