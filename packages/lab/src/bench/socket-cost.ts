/**
 * Processor time of freeze and of thaw on a real idle connection, in the namespaces of a laboratory without daemon and
 * without traffic: what the kernel and our calls to it cost, and nothing of the messages around them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import { measureMoveCpu } from './measure-move-cpu.js';
import type { MoveCpu } from './measure-move-cpu.js';
import { closeFd, inNetworkNamespace } from '@restitch/sys';
import {
  acceptSocket,
  bindSocket,
  connectSocket,
  familyOf,
  getLocalAddress,
  listenSocket,
  openTcpSocket,
} from '@restitch/sys/internal';
import type { Lab } from '../lab/lab.js';
import { partyInterface } from '../lab/lab-network.js';
import type { PartyPlan } from '../lab/lab-plan.js';
import { runTool } from '../lab/run-tool.js';

const port = 7100;
const nobodysMac = '02:00:00:00:00:ff';

/** Moves one connection to and fro between endpoints a and b; its client is cut off meanwhile. */
export async function measureSocketCost(lab: Lab, moves: number): Promise<MoveCpu> {
  const [a, b] = [lab.party('a'), lab.party('b')];
  const vip = { address: lab.plan.vipIpv4, port };
  const family = familyOf(vip.address);
  pointVip(lab, readMac(a));
  const listener = inside(a, () => {
    const fd = openTcpSocket(family);
    bindSocket(fd, family, vip);
    listenSocket(fd, 1);
    return fd;
  });
  const client = inside(lab.plan.client, () => {
    const fd = openTcpSocket(family);
    connectSocket(fd, family, vip);
    return fd;
  });
  try {
    const server = await accept(listener);
    const flow = { client: getLocalAddress(client), vip };
    pointVip(lab, nobodysMac);
    const cost = measureMoveCpu({
      fd: server,
      flow,
      places: [(fn) => inside(b, fn), (fn) => inside(a, fn)],
      moves,
    });
    closeFd(cost.fd);
    return cost;
  } finally {
    closeFd(client);
    closeFd(listener);
  }
}

async function accept(listener: number): Promise<number> {
  for (let i = 0; i < 200; i++) {
    const fd = acceptSocket(listener);
    if (fd !== undefined) return fd;
    await sleep(10);
  }
  throw new RestitchError('deadline_exceeded', 'no connection through the laboratory within 2 s');
}

function inside<T>(party: PartyPlan, fn: () => T): T {
  return inNetworkNamespace(`/run/netns/${party.namespace}`, fn);
}

function readMac(party: PartyPlan): string {
  const text = runTool('ip', ['-n', party.namespace, '-j', 'link', 'show', partyInterface]);
  return (JSON.parse(text) as Array<{ address: string }>)[0]?.address ?? nobodysMac;
}

/** Steers without a daemon: the client's own neighbour entry for the VIP. */
function pointVip(lab: Lab, mac: string): void {
  const { client, vipIpv4 } = lab.plan;
  const entry = ['replace', vipIpv4, 'lladdr', mac, 'dev', partyInterface, 'nud', 'permanent'];
  runTool('ip', ['-n', client.namespace, 'neigh', ...entry]);
}
