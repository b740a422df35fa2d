/** Starts the access point and the endpoints of a laboratory, and says when they are ready. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TlsFiles } from '@restitch/channel';
import { RestitchError } from '@restitch/core';
import { createDevPki, openDevPki } from '@restitch/pki';
import { awaitMessage } from './await-message.js';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { adminSocketOf, createLabConfig, labCluster, listenersOf } from './lab-config.js';
import type { LabServices } from './lab-config.js';
import { partyInterface } from './lab-network.js';
import { labControlPort } from './lab-plan.js';
import type { LabListener, LabPlan, PartyPlan } from './lab-plan.js';
import { partyProgramFile } from './program-file.js';

/** What an endpoint's process is told, as its only argument in JSON. */
export interface EndpointProgramOptions {
  readonly name: string;
  readonly address: string;
  readonly accessPoint: { readonly host: string; readonly port: number };
  readonly tls: TlsFiles;
  /** Unix socket of the host's agent; levels above none need it. */
  readonly agentSocket?: string;
  readonly listeners: ReadonlyArray<LabListener & { readonly address: string }>;
}

/** Name of the access point in certificates and its process in the state file. */
export const accessPointName = 'access-point';

const readyMs = 30_000;

/** Makes the laboratory's certificate authority and the access point's certificate and configuration. */
export async function prepareAccessPoint(lab: Lab, services: LabServices = {}): Promise<void> {
  const pki = await createDevPki(`${lab.plan.directory}/pki`, { cluster: labCluster });
  const tls = await pki.issue('access-point', `lab-${lab.plan.id}`);
  writeFileSync(configFile(lab.plan), createLabConfig(lab.plan, tls, services));
}

/** Starts the daemon and waits until its admin socket answers. */
export async function startAccessPoint(lab: Lab): Promise<void> {
  // The kernel still takes connections for a process that is being killed: only a new socket is the new daemon's.
  rmSync(adminSocketOf(lab.plan), { force: true });
  const child = lab.start({
    name: accessPointName,
    party: lab.plan.accessPoint,
    command: process.execPath,
    args: [partyProgramFile('lab/access-point-main', accessPointName), configFile(lab.plan)],
    isOnItsOwn: true,
  });
  child.unref();
  for (let i = 0; i < readyMs / 50; i++) {
    if (existsSync(adminSocketOf(lab.plan)) && (await answers(lab.plan))) return;
    if (child.exitCode !== null) break;
    await sleep(50);
  }
  throw new RestitchError('internal', `the access point did not start: see ${lab.logFile(accessPointName)}`);
}

/** Starts an endpoint's process and waits until the access point has welcomed it. */
export async function startEndpoint(lab: Lab, party: PartyPlan, services: LabServices = {}): Promise<void> {
  const { isProtected = false, isMetered = false } = services;
  const pki = await openDevPki(`${lab.plan.directory}/pki`);
  const options: EndpointProgramOptions = {
    name: party.name,
    address: party.ipv4,
    accessPoint: { host: lab.plan.accessPoint.ipv4, port: labControlPort },
    tls: await pki.issue('endpoint', party.name, { force: true }),
    ...(isProtected ? { agentSocket: agentSocketOf(lab.plan, party) } : {}),
    listeners: listenersOf(services).flatMap((listener) => [
      { ...listener, address: lab.plan.vipIpv4 },
      { ...listener, name: `${listener.name}6`, address: lab.plan.vipIpv6 },
    ]),
  };
  const child = lab.start({
    name: party.name,
    party,
    command: process.execPath,
    args: [partyProgramFile('lab/endpoint-main', party.name), JSON.stringify(options)],
    cgroup: lab.makeCgroup(party),
    isMetered,
    hasChannel: true,
  });
  await awaitMessage(child, readyMs, `endpoint ${party.name} (see ${lab.logFile(party.name)})`, () => true);
  child.unref();
}

/** What a host agent's process is told, as its only argument in JSON. */
export interface AgentProgramOptions {
  readonly name: string;
  readonly socketPath: string;
  readonly pinDirectory: string;
  readonly interfaceName: string;
  readonly accessPoint: { readonly host: string; readonly port: number };
  readonly tls: TlsFiles;
}

/** Starts the agent of an endpoint's host and waits until it listens. */
export async function startAgent(lab: Lab, party: PartyPlan): Promise<void> {
  const pki = await openDevPki(`${lab.plan.directory}/pki`);
  const options: AgentProgramOptions = {
    name: party.name,
    socketPath: agentSocketOf(lab.plan, party),
    pinDirectory: guardPinsOf(lab.plan, party),
    interfaceName: partyInterface,
    accessPoint: { host: lab.plan.accessPoint.ipv4, port: labControlPort },
    tls: await pki.issue('endpoint', party.name, { force: true }),
  };
  const name = agentNameOf(party);
  const args = [partyProgramFile('lab/agent-main', name), JSON.stringify(options)];
  const child = lab.start({
    name,
    party,
    command: process.execPath,
    args,
    isOnItsOwn: true,
    hasChannel: true,
  });
  await awaitMessage(child, readyMs, `agent of ${party.name} (see ${lab.logFile(name)})`, () => true);
  child.unref();
}

/** Name of an agent's process in the state file. */
export function agentNameOf(party: PartyPlan): string {
  return `agent-${party.name}`;
}

/** Where the guard of an endpoint's host is pinned. */
export function guardPinsOf(plan: LabPlan, party: PartyPlan): string {
  return `${plan.pinDirectory}/guard-${party.name}`;
}

/** Socket on which the agent of an endpoint's host takes its processes. */
export function agentSocketOf(plan: LabPlan, party: PartyPlan): string {
  return `${plan.directory}/agent-${party.name}.sock`;
}

/** Resolves when the access point takes new flows for all of `names`. */
export async function awaitHealthy(lab: Lab, names: readonly string[]): Promise<void> {
  const admin = await LabAdmin.open(lab.plan);
  try {
    for (let i = 0; i < readyMs / 50; i++) {
      const endpoints = await admin.endpoints();
      const isHealthy = (name: string): boolean =>
        endpoints.some((e) => e.name === name && e.liveness === 'healthy');
      if (names.every(isHealthy)) return;
      await sleep(50);
    }
    throw new RestitchError('internal', `endpoints ${names.join(', ')} are not healthy`);
  } finally {
    admin.close();
  }
}

async function answers(plan: LabPlan): Promise<boolean> {
  try {
    (await LabAdmin.open(plan)).close();
    return true;
  } catch {
    return false;
  }
}

function configFile(plan: LabPlan): string {
  return `${plan.directory}/access-point.yaml`;
}
