/** The access point's configuration in a laboratory: the ordinary file an operator would write, with the laboratory's paths. */
import { stringify } from 'yaml';
import type { TlsFiles } from '@restitch/channel';
import { partyInterface } from './lab-network.js';
import { labControlPort, labListeners } from './lab-plan.js';
import type { LabListener, LabPlan } from './lab-plan.js';

/** Name of the cluster in a laboratory's certificates. */
export const labCluster = 'lab';

/** Socket of the access point's admin interface. */
export function adminSocketOf(plan: LabPlan): string {
  return `${plan.directory}/admin.sock`;
}

/** What a laboratory serves, and how. */
export interface LabServices {
  /** Endpoints have host agents, and the default applications are at level commit. */
  readonly isProtected?: boolean;
  /** Beside the default ones. */
  readonly listeners?: readonly LabListener[];
  /** Endpoints get CPU quotas. */
  readonly isMetered?: boolean;
  /** The section `analytics` of the access point's configuration. */
  readonly analytics?: Readonly<Record<string, unknown>>;
  /** Added to the section `moves`. */
  readonly moves?: Readonly<Record<string, unknown>>;
}

/** All listeners of a laboratory. */
export function listenersOf(services: LabServices): readonly LabListener[] {
  return [...labListeners(services.isProtected === true), ...(services.listeners ?? [])];
}

/** The YAML text of the access point's configuration. */
export function createLabConfig(plan: LabPlan, tls: TlsFiles, services: LabServices = {}): string {
  const { isProtected = false, analytics } = services;
  const listeners = listenersOf(services).flatMap(({ name, port, weights = {} }) => [
    { name, vip: `${plan.vipIpv4}:${port}`, weights },
    { name: `${name}6`, vip: `[${plan.vipIpv6}]:${port}`, weights },
  ]);
  return stringify({
    name: `lab-${plan.id}`,
    cluster: labCluster,
    interface: partyInterface,
    pinDirectory: plan.pinDirectory,
    stateDirectory: `${plan.directory}/state`,
    adminSocket: adminSocketOf(plan),
    control: {
      listen: `${plan.accessPoint.ipv4}:${labControlPort}`,
      tls: { cert: tls.certFile, key: tls.keyFile, ca: tls.caFile },
    },
    listeners,
    moves: { minimumResidence: '0s', ...services.moves },
    ...(analytics === undefined ? {} : { analytics }),
    // Crash detection counts heartbeats: three missed ones are a death.
    // A start that waits ten seconds for a dead endpoint would only test the clients' patience.
    ...(isProtected
      ? { rebuildGrace: '3s', health: { heartbeat: '200ms', suspectAfter: '400ms', deadAfter: '5s' } }
      : {}),
    lab: true,
    log: { level: 'info' },
  });
}
