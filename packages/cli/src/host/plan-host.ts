/**
 * What an endpoint's host needs once, before an application with CAP_NET_ADMIN alone can serve a VIP: the VIP on the
 * loopback interface, silence about it on the network, and a connection tracker that does not judge moved flows.
 *
 * The plan is data, so that `--dry-run` prints exactly what would be done and `undo` is its mirror.
 */
import { RestitchError, isIpv4, normalizeAddress } from '@restitch/core';

/** One thing to set, and how it is taken back. */
export interface HostStep {
  readonly what: string;
  readonly why: string;
  readonly apply: readonly string[];
  /** Empty where nothing may be taken back because others may rely on it. */
  readonly undo: readonly string[];
  /** True if the step may fail without harm, e.g. a sysctl of a module that is not loaded. */
  readonly isOptional: boolean;
}

/** What the operator named. */
export interface HostRequest {
  readonly vips: readonly string[];
  /** Interface on the VIP's network. */
  readonly interfaceName: string;
}

/** The steps for one endpoint host, in order. Throws `usage` for what is no address or interface name. */
export function planHost(request: HostRequest): HostStep[] {
  if (!/^[\w.@-]{1,15}$/.test(request.interfaceName)) {
    throw new RestitchError('usage', `not an interface name: ${JSON.stringify(request.interfaceName)}`);
  }
  if (request.vips.length === 0) throw new RestitchError('usage', 'host setup: no --vip was given');
  const vips = request.vips.map(normalizeAddress);
  const steps: HostStep[] = [];
  if (vips.some(isIpv4)) steps.push(...quietArp(request.interfaceName));
  for (const vip of vips) steps.push(ownVip(vip));
  steps.push({
    what: 'nf_conntrack_tcp_be_liberal=1',
    why: 'a connection tracker that did not see the other half of a moved flow would call its packets invalid',
    apply: ['sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_be_liberal=1'],
    undo: [],
    isOptional: true,
  });
  return steps;
}

function ownVip(vip: string): HostStep {
  const prefix = isIpv4(vip) ? `${vip}/32` : `${vip}/128`;
  const family = isIpv4(vip) ? '-4' : '-6';
  // nodad: duplicate address detection would find the access point, which owns the address on the network.
  const nodad = isIpv4(vip) ? [] : ['nodad'];
  return {
    what: `${prefix} on lo`,
    why: 'the endpoint takes packets for the VIP and answers the client from it',
    apply: ['ip', family, 'addr', 'replace', prefix, 'dev', 'lo', ...nodad],
    undo: ['ip', family, 'addr', 'del', prefix, 'dev', 'lo'],
    isOptional: false,
  };
}

function quietArp(interfaceName: string): HostStep[] {
  const steps: HostStep[] = [];
  for (const [key, value, before] of [
    ['arp_ignore', 1, 0],
    ['arp_announce', 2, 0],
  ] as const) {
    for (const scope of ['all', interfaceName]) {
      steps.push({
        what: `${scope} ${key}=${value}`,
        why: 'only the access point may answer for the VIP',
        apply: ['sysctl', '-qw', `net.ipv4.conf.${scope}.${key}=${value}`],
        undo: ['sysctl', '-qw', `net.ipv4.conf.${scope}.${key}=${before}`],
        isOptional: false,
      });
    }
  }
  return steps;
}
