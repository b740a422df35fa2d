/**
 * What steering costs: throughput towards an endpoint and round trips, directly, through restitch and through HAProxy,
 * taken in turns so that what else the machine does meets all three alike. Upload, because with direct return the
 * answers of an endpoint never pass the access point.
 */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, closeSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RestitchError, systemClock } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane } from '@restitch/dataplane';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import { buildFabric, joinParty, partyInterface, removeNamespaces } from '../lab/lab-network.js';
import { createLabPlan, planEndpoint } from '../lab/lab-plan.js';
import type { LabPlan, PartyPlan } from '../lab/lab-plan.js';
import type { PingRequest } from './ping-pong.js';
import { medianInterval } from './median-interval.js';

const run = promisify(execFile);

/** Many short pairs rather than few long ones: other work on the machine then meets both sides of a pair. */
const defaultPairs = 16;
/** What a 95 % interval of a useful width needs; a busy machine gets no more. */
const leastPairs = 10;
const budgetMs = 45_000;
/** About 0.3 s directly, 1 s through a proxy. */
const uploadBytes = 300_000_000;
const pingCount = 4000;
const ports = { throughput: 5201, echo: 7001 } as const;
const endpointId = 1;

const paths = ['direct', 'restitch', 'haproxy'] as const;
type Path = (typeof paths)[number];
type Figures = Record<Path, number[]>;

/** Options of the bench. */
export interface DataplaneBenchOptions {
  readonly pairs?: number;
}

/** Ratios are against direct: medians over the pairs with their 95 % intervals. */
export interface DataplaneBenchResult {
  readonly pairs: number;
  readonly throughputRatio: Readonly<Record<'restitch' | 'haproxy', number>>;
  readonly throughputRatioInterval: Readonly<Record<'restitch' | 'haproxy', readonly [number, number]>>;
  readonly rttRatio: Readonly<Record<'restitch' | 'haproxy', number>>;
  readonly rttRatioInterval: Readonly<Record<'restitch' | 'haproxy', readonly [number, number]>>;
  readonly throughputGbps: Readonly<Record<Path, number>>;
  readonly rttUs: Readonly<Record<Path, number>>;
  readonly steeredPackets: number;
  readonly durationMs: number;
}

/** Runs in namespaces of its own, which it takes down. Needs root, iperf3 and haproxy; takes up to a minute. */
export async function runDataplaneBench(options: DataplaneBenchOptions = {}): Promise<DataplaneBenchResult> {
  const pairs = options.pairs ?? defaultPairs;
  const startMs = systemClock.monotonicMs();
  const stage = await openStage();
  try {
    const throughput: Figures = { direct: [], restitch: [], haproxy: [] };
    const rtt: Figures = { direct: [], restitch: [], haproxy: [] };
    for (let i = 0; i < pairs; i++) {
      if (i >= leastPairs && systemClock.monotonicMs() - startMs > budgetMs) break;
      // Turns rotate: whoever comes first after a pause finds a cooler CPU.
      for (let j = 0; j < paths.length; j++) {
        const path = paths[(i + j) % paths.length] as Path;
        rtt[path].push(await stage.ping(path));
        throughput[path].push(await stage.upload(path));
      }
    }
    const steeredPackets = stage.steeredPackets();
    const ratios = { throughput: toRatios(throughput), rtt: toRatios(rtt) };
    return {
      pairs: rtt.direct.length,
      throughputRatio: ratios.throughput.median,
      throughputRatioInterval: ratios.throughput.interval,
      rttRatio: ratios.rtt.median,
      rttRatioInterval: ratios.rtt.interval,
      throughputGbps: medians(throughput, 1e-9),
      rttUs: medians(rtt, 1),
      steeredPackets,
      durationMs: Math.round(systemClock.monotonicMs() - startMs),
    };
  } finally {
    stage.close();
  }
}

interface Ratios {
  readonly median: Record<'restitch' | 'haproxy', number>;
  readonly interval: Record<'restitch' | 'haproxy', readonly [number, number]>;
}

function toRatios(figures: Figures): Ratios {
  const of = (path: 'restitch' | 'haproxy') =>
    medianInterval(figures[path].map((value, i) => value / (figures.direct[i] ?? Number.NaN)));
  const restitch = of('restitch');
  const haproxy = of('haproxy');
  return {
    median: { restitch: round(restitch.median), haproxy: round(haproxy.median) },
    interval: {
      restitch: [round(restitch.low), round(restitch.high)],
      haproxy: [round(haproxy.low), round(haproxy.high)],
    },
  };
}

function medians(figures: Figures, factor: number): Record<Path, number> {
  const of = (path: Path): number => round(medianInterval(figures[path]).median * factor);
  return { direct: of('direct'), restitch: of('restitch'), haproxy: of('haproxy') };
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

interface Stage {
  /** Bits per second that arrived. */
  upload(path: Path): Promise<number>;
  /** Median round trip of 64 bytes, microseconds. */
  ping(path: Path): Promise<number>;
  steeredPackets(): number;
  close(): void;
}

/** Network, servers, HAProxy and the data plane, which lives in this process inside the access point's namespace. */
async function openStage(): Promise<Stage> {
  const plan = createLabPlan(`b${process.pid.toString(36)}`);
  const endpoint = planEndpoint(plan, 0);
  const children: ChildProcess[] = [];
  const home = openSync('/proc/self/ns/net', 'r');
  const directory = mkdtempSync(`${tmpdir()}/restitch-bench-`);
  let dataplane: Dataplane | undefined;
  const close = (): void => {
    for (const child of children) child.kill('SIGKILL');
    dataplane?.destroy();
    enterNetworkNamespace(`/proc/self/fd/${home}`);
    closeSync(home);
    rmSync(directory, { recursive: true, force: true });
    removeNamespaces([
      plan.fabricNamespace,
      ...[plan.client, plan.accessPoint, endpoint].map((p) => p.namespace),
    ]);
  };
  const start = (party: PartyPlan, command: string, args: readonly string[], ipc = false): ChildProcess => {
    const child = spawn('nsenter', [`--net=/run/netns/${party.namespace}`, command, ...args], {
      stdio: ipc ? ['ignore', 'ignore', 'inherit', 'ipc'] : 'ignore',
    });
    children.push(child);
    return child;
  };
  try {
    buildFabric(plan);
    for (const party of [plan.client, plan.accessPoint, endpoint]) joinParty(plan, party);
    start(endpoint, 'iperf3', ['--server', '--port', String(ports.throughput)]);
    await once(start(endpoint, process.execPath, [pingPong, 'echo', String(ports.echo)], true), 'message');
    const pinger = start(plan.client, process.execPath, [pingPong, 'ping'], true);
    await once(pinger, 'message');
    const config = `${directory}/haproxy.cfg`;
    writeFileSync(config, haproxyConfig(plan, endpoint));
    start(plan.accessPoint, 'haproxy', ['-db', '-f', config]);
    enterNetworkNamespace(`/run/netns/${plan.accessPoint.namespace}`);
    dataplane = openBenchDataplane(plan, endpoint);
    const addresses = { direct: endpoint.ipv4, restitch: plan.vipIpv4, haproxy: plan.accessPoint.ipv4 };
    await untilAnswering(() => upload(plan.client, addresses.haproxy));
    const opened = dataplane;
    return {
      upload: (path) => upload(plan.client, addresses[path]),
      ping: (path) => ping(pinger, { address: addresses[path], port: ports.echo, count: pingCount }),
      steeredPackets: () => Number(opened.stats().verdicts['steered'] ?? 0n),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

const pingPong = fileURLToPath(new URL('./ping-pong.js', import.meta.url));

function openBenchDataplane(plan: LabPlan, endpoint: PartyPlan): Dataplane {
  const dataplane = openDataplane({
    interfaceName: partyInterface,
    pinDirectory: plan.pinDirectory,
    holdDevice: 'restitch-hold',
    maxFlows: 10_000,
    maxHalfOpen: 10_000,
    holdBounds: { flowBytes: 1 << 20, totalBytes: 1 << 24 },
  });
  dataplane.setTarget({ endpointId, dataAddress: endpoint.ipv4 });
  dataplane.setServices(
    Object.values(ports).map((port) => {
      return { address: plan.vipIpv4, port, backends: [{ endpointId, weight: 1 }] };
    }),
  );
  dataplane.setRebuilding(false);
  return dataplane;
}

function haproxyConfig(plan: LabPlan, endpoint: PartyPlan): string {
  const proxies = Object.entries(ports).map(
    ([name, port]) =>
      `listen ${name}\n  bind ${plan.accessPoint.ipv4}:${port}\n  server endpoint ${endpoint.ipv4}:${port}`,
  );
  const defaults = 'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s';
  return ['global\n  maxconn 1000', defaults, ...proxies, ''].join('\n');
}

async function upload(client: PartyPlan, address: string): Promise<number> {
  const args = ['--client', address, '--port', String(ports.throughput), '--bytes', String(uploadBytes)];
  const inClient = [`--net=/run/netns/${client.namespace}`, 'iperf3', ...args, '--json'];
  const { stdout } = await run('nsenter', inClient, { timeout: 15_000 });
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second;
}

async function ping(pinger: ChildProcess, request: PingRequest): Promise<number> {
  pinger.send(request);
  const [answer] = (await once(pinger, 'message')) as [{ p50Us?: number; error?: string }];
  if (answer.p50Us === undefined)
    throw new RestitchError('internal', `round trips to ${request.address}: ${answer.error ?? 'no answer'}`);
  return answer.p50Us;
}

/** Servers that are still starting refuse; so does an iperf3 that has not finished the last test. */
async function untilAnswering(attempt: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
