/** One valid sample of every message, an image, and configurations: where mutations start. */
import type {
  FromEndpoint,
  SessionImageBody,
  ToEndpoint,
  ToSource,
  ToTarget,
  ToBuddy,
  ToOwner,
} from '@restitch/wire/internal';

const protocol = { major: 1, minor: 0 };
const flow = { client: { address: '10.0.0.2', port: 40000 }, vip: { address: '2001:db8::100', port: 8080 } };
const app = { name: 'echo', version: '1' };
const session = {
  id: 's1',
  flow,
  epoch: 3,
  phase: 'frozen',
  moveId: 'm1',
  pinned: 'no',
  openedAtMs: 1,
} as const;
const stateAddress = { address: '10.0.0.12', port: 7500 };
const failure = { code: 'thaw_failed', message: 'bind', details: { step: 'bind' } };

/** Endpoint → access point. */
export const fromEndpointSeeds: readonly FromEndpoint[] = [
  {
    t: 'hello',
    protocol,
    name: 'a',
    instance: 'i1',
    app,
    dataAddress: '10.0.0.11',
    capacitySessions: 10,
    stateAddress: { address: '10.0.0.11', port: 7500 },
    listeners: [{ name: 'web', vip: flow.vip }],
    features: ['repair'],
  },
  { t: 'announce', sessions: [session, session], last: true },
  { t: 'opened', sessions: [session] },
  { t: 'ended', sessions: [{ id: 's1', flow, epoch: 3, reason: 'closed' }] },
  { t: 'pinned', id: 's1', reason: null },
  { t: 'heartbeat', n: 7, sessions: 1, eventLoopDelayMs: 0.5, counters: { moves: 1 } },
  { t: 'thawed', moveId: 'm1', thawUs: 20 },
  { t: 'thaw-failed', moveId: 'm1', failure },
  { t: 'confirmed', moveId: 'm1', serverRtos: 0 },
  { t: 'reply', re: 1, ok: true, data: { owned: [true, false] } },
  { t: 'refusal', re: 1, failure },
  { t: 'agent-hello', protocol, name: 'a' },
  { t: 'process-ended', instance: 'i1', isFenced: true, isLeaving: true, finishing: [{ flow, epoch: 3 }] },
  { t: 'finished', flows: [{ flow, epoch: 3 }] },
  { t: 'leaving', on: true, deadlineMs: 25_000 },
  {
    t: 'closing',
    sessions: [
      { id: 's1', flow, epoch: 3, closing: { tailBytes: 9, finisher: 'kernel', hasApplication: true } },
    ],
  },
  { t: 'agent-heartbeat' },
  { t: 'buddies', sessions: [{ id: 's1', buddy: 'b', isReady: true }] },
  { t: 'wants-move', n: 1, id: 's1', target: 'b', byVerdict: true },
  {
    t: 'telemetry',
    atMs: 1000,
    seq: 1,
    total: 1,
    metrics: { cpuRatio: 0.5, eventLoopDelayMs: 2 },
    sessions: [['s1', 0, 1000, 3, 640, 640]],
  },
];

/** Access point → endpoint. */
export const toEndpointSeeds: readonly ToEndpoint[] = [
  { t: 'welcome', protocol, heartbeatMs: 500, accessPoint: 'ap' },
  {
    t: 'reserve',
    rq: 1,
    moveId: 'm1',
    sessionId: 's1',
    flow,
    epoch: 3,
    source: 'a',
    app,
    listener: 'web',
    expiresMs: 1000,
  },
  {
    t: 'prepare',
    rq: 2,
    moveId: 'm1',
    sessionId: 's1',
    budgetMs: 50,
    target: { name: 'b', address: { address: '10.0.0.12', port: 7500 } },
  },
  { t: 'freeze', rq: 3, moveId: 'm1', epoch: 4, budgetMs: 50 },
  { t: 'activate', rq: 4, moveId: 'm1', epoch: 4 },
  { t: 'abort', rq: 5, moveId: 'm1' },
  { t: 'revert', rq: 6, moveId: 'm1' },
  { t: 'release', rq: 7, moveId: 'm1' },
  { t: 'query', rq: 8, flows: [flow] },
  { t: 'residue', rq: 1 },
  { t: 'reset', rq: 9, sessionIds: ['s1'] },
  { t: 'stats', rq: 10, sessionIds: ['s1'] },
  { t: 'draining', on: true },
  { t: 'lease', n: 7, leaseMs: 250 },
  { t: 'peers', peers: [{ name: 'b', instance: 'i2', stateAddress, labels: { zone: 'north' } }] },
  { t: 'fenced', reason: 'silent' },
  { t: 'replicas', rq: 11, owner: 'b' },
  { t: 'take-over', rq: 12, moveId: 'm2', owner: 'b', sessionId: 's1', epoch: 5 },
  { t: 'move-answer', n: 1, outcome: 'refused', reason: 'no room' },
  {
    t: 'verdicts',
    generation: 2,
    expiresInMs: 3000,
    verdicts: [{ session: 's1', target: 'b' }],
    complete: true,
  },
];

/** Source → target. */
export const toTargetSeeds: readonly ToTarget[] = [
  { t: 'state-hello', protocol, name: 'a' },
  { t: 'image', moveId: 'm1', epoch: 4, image: Buffer.from('image') },
];

/** Target → source. */
export const toSourceSeeds: readonly ToSource[] = [
  { t: 'state-welcome', protocol, name: 'b' },
  { t: 'image-refused', moveId: 'm1', failure },
];

/** Owner → buddy. */
export const toBuddySeeds: readonly ToBuddy[] = [
  {
    t: 'commit',
    id: 's1',
    epoch: 3,
    n: 1,
    opening: Buffer.from('opening'),
    state: { as: 'snapshot', bytes: Buffer.from('state'), consumed: 5, outputAt: 6 },
    inputStart: 5,
    input: Buffer.from('input'),
    fin: false,
    outputStart: 6,
    output: Buffer.from('output'),
    acked: 6,
    chain: 1,
  },
  { t: 'resume', sessions: [{ id: 's1', epoch: 3 }] },
  { t: 'forget', id: 's1', epoch: 3 },
];

/** Buddy → owner. */
export const toOwnerSeeds: readonly ToOwner[] = [
  { t: 'committed', sessions: [{ id: 's1', epoch: 3, n: 1 }] },
  { t: 'resume-from', sessions: [{ id: 's1', epoch: 3, n: 0 }] },
  { t: 'forgotten', id: 's1', epoch: 3 },
  { t: 'commit-refused', id: 's1', epoch: 3, n: 1, code: 'no_capacity' },
];

/** A session at rest. */
export const imageSeed: SessionImageBody = {
  sessionId: 's1',
  epoch: 4,
  flow,
  listener: 'web',
  app,
  state: { lines: 3, open: ['x', { deep: null }] },
  tcp: {
    state: 1,
    rcvNxt: 0xfffffff0,
    writeSeq: 12,
    sentBytes: 3,
    finReceived: false,
    finSent: false,
    recvQueue: Buffer.from('queued'),
    sendQueue: Buffer.from('to send'),
    window: Buffer.alloc(20, 1),
    mssClamp: 1460,
    sndWscale: 7,
    rcvWscale: 7,
    hasWscale: true,
    hasSack: true,
    hasTimestamps: true,
    timestamp: 12345,
    options: { keepIdle: 7200, noDelay: 1 },
    congestion: 'bbr',
    keepaliveElapsedMs: 0,
    unackedElapsedMs: 0,
  },
  unread: Buffer.from('unread'),
  unwritten: Buffer.from('unwritten'),
  endPending: false,
  outputEnded: false,
  inputEnded: false,
  openedAtMs: 1_700_000_000_000,
  moves: 2,
  bytesRead: 100,
  bytesWritten: 200,
};

/** Configurations: the smallest and one with everything. */
export const configSeeds: readonly string[] = [
  `name: ap1
cluster: dev
interface: eth0
control:
  listen: 10.0.0.1:7400
  tls: {cert: /etc/r/ap.crt, key: /etc/r/ap.key, ca: /etc/r/ca.crt}
listeners:
  - name: web
    vip: 10.0.0.100:8080
`,
  `name: ap1
cluster: dev
interface: eth0
adminSocket: /run/x.sock
control: {listen: "[2001:db8::1]:7400", tls: {cert: /a, key: /b, ca: /c}, maxMessage: 1MiB}
listeners:
  - {name: web, vip: "10.0.0.100:8080", weights: {a: 3}}
  - {name: six, vip: {address: 2001:db8::2, port: 443}}
registration: listed
endpoints:
  - {name: a, weight: 50, labels: {zone: north}, capacity: 1000}
  - name: b
hold: {flowBytes: 1MiB, totalBytes: 64MiB}
moves: {budget: 80ms, deadlines: {confirm: 3s}, onTargetFailure: next-target}
health: {heartbeat: 200ms, suspectAfter: 1s, deadAfter: 3s, tcpProbe: {interval: 5s}}
drain: {deadline: 1h, onDeadline: reset}
`,
];
