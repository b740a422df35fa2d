/**
 * The laboratory's network: one namespace with a bridge, one namespace for each party, joined by veth pairs.
 *
 * A bridge and not point-to-point links, because direct return needs all parties on one layer-2 network. `ip -batch`
 * and not netlink of our own: the whole network takes about 30 ms this way.
 */
import { RestitchError } from '@restitch/core';
import type { LabPlan, PartyPlan } from './lab-plan.js';
import { runTool } from './run-tool.js';

/** Interface of every party in its own namespace. */
export const partyInterface = 'eth0';

/** How a party joins the bridge. */
export interface JoinOptions {
  /** Addresses the party gets beside its own. */
  readonly extraIpv4?: readonly string[];
  /** Leave out the veth pair: a link emulator makes both ends as TAP devices. */
  readonly isEmulated?: boolean;
}

/** Makes the bridge. */
export function buildFabric(plan: LabPlan): void {
  ipBatch([`netns add ${plan.fabricNamespace}`]);
  ipBatch(
    [
      'link set lo up',
      // Snooping would need a querier before it lets neighbour solicitations pass.
      'link add br0 type bridge stp_state 0 mcast_snooping 0',
      'link set br0 up',
    ],
    plan.fabricNamespace,
  );
  // Where br_netfilter is loaded, a bridge would reassemble fragments and walk the IP tables at every hop; a switch does not.
  const files = '/proc/sys/net/bridge/bridge-nf-call-*';
  const script = `for file in ${files}; do if [ -w "$file" ]; then echo 0 > "$file"; fi; done`;
  runTool('nsenter', [`--net=/run/netns/${plan.fabricNamespace}`, 'sh', '-c', script]);
}

/** Makes a party's namespace, its link and its addresses. */
export function joinParty(plan: LabPlan, party: PartyPlan, options: JoinOptions = {}): void {
  const commands = [`netns add ${party.namespace}`];
  if (options.isEmulated !== true) {
    commands.push(
      `link add name ${partyInterface} netns ${party.namespace} type veth ` +
        `peer name ${party.bridgePort} netns ${plan.fabricNamespace}`,
    );
  }
  ipBatch(commands);
  setSysctls(party);
  if (options.isEmulated === true) return;
  raiseParty(plan, party, options);
}

/** Puts addresses on a party's interface and its port into the bridge; for emulated links once the devices exist. */
export function raiseParty(plan: LabPlan, party: PartyPlan, options: JoinOptions = {}): void {
  ipBatch([`link set ${party.bridgePort} master br0 up`], plan.fabricNamespace);
  ipBatch(
    [
      'link set lo up',
      `link set ${partyInterface} up`,
      `addr add ${party.ipv4}/16 dev ${partyInterface}`,
      `addr add ${party.ipv6}/64 dev ${partyInterface} nodad`,
      ...(options.extraIpv4 ?? []).map((address) => `addr add ${address}/16 dev ${partyInterface}`),
      ...vipCommands(plan, party),
    ],
    party.namespace,
  );
}

/** Takes a party's link down or up again, at the bridge, so that the party itself sees only silence. */
export function setPartyLink(plan: LabPlan, party: PartyPlan, isUp: boolean): void {
  // Down at the bridge port takes the carrier from the veth peer too; addresses and routes of the party stay.
  ipBatch([`link set ${party.bridgePort} ${isUp ? 'master br0' : 'nomaster'}`], plan.fabricNamespace);
}

/** Removes namespaces; those that do not exist are passed over. */
export function removeNamespaces(namespaces: readonly string[]): void {
  if (namespaces.length === 0) return;
  const listed = runTool('ip', ['netns', 'list']).split('\n');
  const existing = new Set(listed.map((line) => line.split(' ')[0] ?? ''));
  const commands = namespaces.filter((name) => existing.has(name)).map((name) => `netns del ${name}`);
  if (commands.length > 0) ipBatch(commands);
}

function vipCommands(plan: LabPlan, party: PartyPlan): string[] {
  if (party.role === 'client') return [];
  const device = party.role === 'access-point' ? partyInterface : 'lo';
  return [`addr add ${plan.vipIpv4}/32 dev ${device}`, `addr add ${plan.vipIpv6}/128 dev ${device} nodad`];
}

function setSysctls(party: PartyPlan): void {
  const values: Array<readonly [string, string]> = [
    ['ipv6/conf/all/accept_ra', '0'],
    ['ipv6/conf/default/accept_dad', '0'],
    ['ipv6/conf/default/router_solicitations', '0'],
  ];
  if (party.role === 'endpoint') {
    // The VIP on lo must stay silent: only the access point answers for it.
    values.push(['ipv4/conf/all/arp_ignore', '1'], ['ipv4/conf/all/arp_announce', '2']);
  }
  if (party.role === 'client') {
    values.push(['ipv4/ip_local_port_range', '2048 65535']);
  }
  const script = values.map(([key, value]) => `echo '${value}' > /proc/sys/net/${key}`).join(' && ');
  runTool('nsenter', [`--net=/run/netns/${party.namespace}`, 'sh', '-c', script]);
}

function ipBatch(commands: readonly string[], namespace?: string): void {
  const args = namespace === undefined ? ['-batch', '-'] : ['-n', namespace, '-batch', '-'];
  try {
    runTool('ip', args, `${commands.join('\n')}\n`);
  } catch (error) {
    throw new RestitchError(
      'syscall_failed',
      `laboratory network: ip ${args.join(' ')} refused one of: ${commands.join('; ')}`,
      { cause: error },
    );
  }
}
