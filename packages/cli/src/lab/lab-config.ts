/** The access point's configuration in a laboratory: the ordinary file an operator would write, with the laboratory's paths. */
import { stringify } from 'yaml';
import type { TlsFiles } from '@restitch/channel';
import { partyInterface } from './lab-network.js';
import { labControlPort, labListeners } from './lab-plan.js';
import type { LabPlan } from './lab-plan.js';

/** Name of the cluster in a laboratory's certificates. */
export const labCluster = 'lab';

/** Socket of the access point's admin interface. */
export function adminSocketOf(plan: LabPlan): string {
  return `${plan.directory}/admin.sock`;
}

/** The YAML text of the access point's configuration. */
export function createLabConfig(plan: LabPlan, tls: TlsFiles, isProtected = false): string {
  const listeners = labListeners(isProtected).flatMap(({ name, port }) => [
    { name, vip: `${plan.vipIpv4}:${port}` },
    { name: `${name}6`, vip: `[${plan.vipIpv6}]:${port}` },
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
    moves: { minimumResidence: '0s' },
    // Crash detection counts heartbeats: three missed ones are a death.
    ...(isProtected ? { health: { heartbeat: '200ms', suspectAfter: '400ms', deadAfter: '5s' } } : {}),
    lab: true,
    log: { level: 'info' },
  });
}
