/**
 * The one schema of the daemon's YAML. Keys are what the user writes; quantities have their unit in the value, so no key
 * carries one. The inferred value still has these keys; `toDaemonConfig` gives it the names the daemon uses.
 */
import { z } from 'zod';
import { analytics, checkAnalytics, ownScores, toAnalytics } from './analytics-schema.js';
import type { DaemonConfig } from './daemon-config.js';
import { endpointInputs, inputs, toEndpointInputs, toInputs } from './inputs-schema.js';
import {
  addIssue,
  count,
  duration,
  durationOrZero,
  interfaceName,
  labelValue,
  name,
  oneOf,
  path,
  showAddress,
  size,
  socketAddress,
} from './fields.js';

const tls = z.strictObject({ cert: path, key: path, ca: path });

const control = z.strictObject({
  listen: socketAddress,
  tls,
  /** 4096 session reports, the longest announce, are about 1 MiB. */
  maxMessage: size.default(4 * 1024 * 1024),
  handshakeTimeout: duration.default(10_000),
  maxConnections: count(1, 100_000).default(4096),
});

const listener = z.strictObject({
  name,
  vip: socketAddress,
  weights: z.record(z.string(), count(0, 1000)).default({}),
});

const endpoint = z.strictObject({
  name,
  weight: count(0, 1000).default(100),
  labels: z.record(z.string(), labelValue).default({}),
  capacity: count(0, 0xffffffff).optional(),
  scores: ownScores.optional(),
  ...endpointInputs,
});

/** A flow may hold what a client sends in 50 ms at 1 Gbit/s and then some; all flows together, what a host can spare. */
const hold = z.strictObject({
  flowBytes: size.default(8 * 1024 * 1024),
  totalBytes: size.default(256 * 1024 * 1024),
});

const deadlines = z.strictObject({
  reserve: duration.default(1000),
  prepare: duration.default(5000),
  activate: duration.default(1000),
  confirm: duration.default(10_000),
  release: duration.default(5000),
  revert: duration.default(5000),
});

const moves = z.strictObject({
  budget: duration.default(50),
  deadlines: deadlines.prefault({}),
  concurrency: count(1, 10_000).default(256),
  endpointConcurrency: count(1, 10_000).default(128),
  perSecond: count(1, 1_000_000).optional(),
  minimumResidence: durationOrZero.default(10_000),
  /** Further freezes of a session that was busy at the first, and the pause before each. */
  busyRetries: count(0, 100).default(20),
  busyPause: duration.default(20),
  maxQueued: count(1, 1_000_000).default(100_000),
  onTargetFailure: oneOf('revert', 'next-target').default('revert'),
  maxTargets: count(1, 16).default(3),
});

const health = z.strictObject({
  heartbeat: duration.default(500),
  suspectAfter: duration.default(1500),
  deadAfter: duration.default(5000),
  tcpProbe: z.strictObject({ interval: duration.default(2000), timeout: duration.default(500) }).optional(),
});

const flows = z.strictObject({
  max: count(1, 16_777_216).default(1_048_576),
  maxHalfOpen: count(1, 4_194_304).default(262_144),
  sweepInterval: duration.default(30_000),
  idleAfter: duration.default(600_000),
  /** TIME_WAIT is 60 s in Linux (include/net/tcp.h TCP_TIMEWAIT_LEN). */
  closingLinger: duration.default(70_000),
});

const drain = z.strictObject({
  deadline: duration.default(600_000),
  onDeadline: oneOf('wait', 'force', 'reset').default('wait'),
});

/** The file as it is written. */
export const daemonFileSchema = z
  .strictObject({
    name,
    cluster: name,
    interface: interfaceName,
    pinDirectory: path.optional(),
    stateDirectory: path.optional(),
    holdDevice: interfaceName.default('restitch-hold'),
    adminSocket: path.optional(),
    control,
    listeners: z.array(listener),
    registration: oneOf('certificate', 'listed').default('certificate'),
    endpoints: z.array(endpoint).default([]),
    hold: hold.prefault({}),
    moves: moves.prefault({}),
    health: health.prefault({}),
    flows: flows.prefault({}),
    drain: drain.prefault({}),
    analytics: analytics.prefault({}),
    inputs: inputs.prefault({}),
    rebuildGrace: duration.default(10_000),
    historyMoves: count(1, 1_000_000).default(10_000),
    lab: z.boolean().default(false),
    log: z.strictObject({ level: oneOf('debug', 'info', 'warn', 'error').default('info') }).prefault({}),
  })
  .superRefine((file, ctx) => checkWhole(file, ctx as never));

type DaemonFile = z.output<typeof daemonFileSchema>;
type Context = Parameters<typeof addIssue>[0];

/** What no field can know alone. */
function checkWhole(file: DaemonFile, ctx: Context): void {
  refuseDoubles(
    ctx,
    'listeners',
    file.listeners.map((l) => l.name),
    'give each listener a name of its own',
  );
  refuseDoubles(
    ctx,
    'listeners',
    file.listeners.map((l) => showAddress(l.vip)),
    'a VIP and port can be served by one listener only',
    'vip',
  );
  refuseDoubles(
    ctx,
    'endpoints',
    file.endpoints.map((e) => e.name),
    'list each endpoint once',
  );
  const known = new Set(file.endpoints.map((e) => e.name));
  file.listeners.forEach((l, i) => {
    for (const endpointName of Object.keys(l.weights)) {
      if (file.registration !== 'listed' || known.has(endpointName)) continue;
      const remedy = `add ${endpointName} to endpoints, or set registration: certificate`;
      addIssue(ctx, `no endpoint is named ${endpointName}`, remedy, [
        'listeners',
        i,
        'weights',
        endpointName,
      ]);
    }
    if (showAddress(l.vip) === showAddress(file.control.listen)) {
      const remedy = 'give the control listener a port of its own';
      addIssue(ctx, 'is also the address of the control listener', remedy, ['listeners', i, 'vip']);
    }
  });
  checkOrder(file, ctx);
  checkAnalytics(file.analytics, file.lab, ctx);
}

function checkOrder(file: DaemonFile, ctx: Context): void {
  const { health: h, hold: keep } = file;
  if (h.suspectAfter <= h.heartbeat) {
    const remedy = `write more than one heartbeat, such as ${3 * h.heartbeat}ms`;
    addIssue(ctx, 'is not longer than health.heartbeat', remedy, ['health', 'suspectAfter']);
  }
  if (h.deadAfter <= h.suspectAfter) {
    addIssue(ctx, 'is not longer than health.suspectAfter', 'write a longer time', ['health', 'deadAfter']);
  }
  if (keep.flowBytes > keep.totalBytes) {
    addIssue(ctx, 'is more than hold.totalBytes', 'write at most hold.totalBytes', ['hold', 'flowBytes']);
  }
  if (file.registration === 'listed' && file.endpoints.length === 0) {
    const remedy = 'list the endpoints, or set registration: certificate';
    addIssue(ctx, 'registration is listed, and no endpoint is', remedy, ['registration']);
  }
}

function refuseDoubles(ctx: Context, list: string, values: string[], remedy: string, key = 'name'): void {
  values.forEach((value, i) => {
    const first = values.indexOf(value);
    if (first < i) addIssue(ctx, `${value} is taken by ${list}[${first}]`, remedy, [list, i, key]);
  });
}

/** The checked file under the names the daemon uses. */
export function toDaemonConfig(file: DaemonFile): DaemonConfig {
  const { moves: m, health: h, flows: f } = file;
  return {
    name: file.name,
    cluster: file.cluster,
    interfaceName: file.interface,
    pinDirectory: file.pinDirectory ?? `/sys/fs/bpf/restitch/${file.name}`,
    stateDirectory: file.stateDirectory ?? `/var/lib/restitch/${file.name}`,
    holdDevice: file.holdDevice,
    adminSocket: file.adminSocket ?? `/run/restitch/${file.name}.sock`,
    control: {
      listen: file.control.listen,
      tls: { certFile: file.control.tls.cert, keyFile: file.control.tls.key, caFile: file.control.tls.ca },
      maxMessageBytes: file.control.maxMessage,
      handshakeMs: file.control.handshakeTimeout,
      maxConnections: file.control.maxConnections,
    },
    listeners: file.listeners,
    registration: file.registration,
    endpoints: file.endpoints.map(({ capacity, maintenance, bandwidth, ...e }) => ({
      ...e,
      ...toEndpointInputs({ maintenance, bandwidth }),
      ...(capacity === undefined ? {} : { capacitySessions: capacity }),
    })),
    hold: file.hold,
    moves: toMoves(m),
    health: {
      heartbeatMs: h.heartbeat,
      suspectAfterMs: h.suspectAfter,
      deadAfterMs: h.deadAfter,
      ...(h.tcpProbe && { tcpProbe: { intervalMs: h.tcpProbe.interval, timeoutMs: h.tcpProbe.timeout } }),
    },
    flows: {
      maxFlows: f.max,
      maxHalfOpen: f.maxHalfOpen,
      sweepIntervalMs: f.sweepInterval,
      idleAfterMs: f.idleAfter,
      closingLingerMs: f.closingLinger,
    },
    inputs: toInputs(file.inputs),
    drain: { deadlineMs: file.drain.deadline, onDeadline: file.drain.onDeadline },
    analytics: toAnalytics(file.analytics, file.stateDirectory ?? `/var/lib/restitch/${file.name}`),
    rebuildGraceMs: file.rebuildGrace,
    historyMoves: file.historyMoves,
    isLab: file.lab,
    log: file.log,
  };
}

function toMoves(m: DaemonFile['moves']): DaemonConfig['moves'] {
  return {
    budgetMs: m.budget,
    deadlines: {
      reserveMs: m.deadlines.reserve,
      prepareMs: m.deadlines.prepare,
      activateMs: m.deadlines.activate,
      confirmMs: m.deadlines.confirm,
      releaseMs: m.deadlines.release,
      revertMs: m.deadlines.revert,
    },
    concurrency: m.concurrency,
    endpointConcurrency: m.endpointConcurrency,
    ...(m.perSecond === undefined ? {} : { perSecond: m.perSecond }),
    minimumResidenceMs: m.minimumResidence,
    busyRetries: m.busyRetries,
    busyPauseMs: m.busyPause,
    maxQueued: m.maxQueued,
    onTargetFailure: m.onTargetFailure,
    maxTargets: m.maxTargets,
  };
}
