/**
 * Two endpoint processes in namespaces of their own, and this process as their access point and their client.
 *
 * Steering is the client's static neighbour entry; nothing is held, so a packet that comes while a session is frozen is
 * dropped by the source's own filter and resent by the client.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromEndpoint, SessionReport } from '@restitch/wire/internal';
import type { ProtectionOptions } from '@restitch/guard';
import { enterNetworkNamespace } from '@restitch/sys';
import { type DevPki, createDevPki } from '../../../packages/pki/src/dev-pki.js';
import { type EndpointName, type TwoEndpoints, createTwoEndpoints } from '../two-endpoints.js';
import { type TestBpfDirectory, openBpfDirectory } from '../../bpf-directory.js';
import { FakeAccessPoint, type FakePeer } from './fake-access-point.js';

const agentFile = fileURLToPath(new URL('../guard/agent.mjs', import.meta.url));
const appFile = fileURLToPath(new URL('app.mjs', import.meta.url));

/** Ports of the applications in app.mjs. */
export const ports = {
  echo: 7000,
  lines: 7001,
  download: 7002,
  idle: 7003,
  running: 7004,
  moody: 7005,
} as const;
/** An application in app.mjs. */
export type Application = keyof typeof ports;

/** What a test may want different of one endpoint. */
export interface ChildOptions {
  readonly version?: string;
  readonly upgradeState?: boolean | 'throw';
  readonly capacitySessions?: number;
  readonly maxImageBytes?: number;
  readonly node?: string;
  /** Runs as this user with CAP_NET_ADMIN and nothing else. */
  readonly uid?: number;
  readonly accessPointPort?: number;
  readonly applications?: readonly Application[];
  readonly ipv6?: boolean;
  /** Of all listeners; the host has an agent then. */
  readonly protection?: ProtectionOptions;
  readonly closing?: { readonly timeoutMs?: number; readonly bytes?: number };
}

/** What a session looks like from inside its process. */
export interface SeenSession {
  readonly id: string;
  readonly phase: string;
  readonly epoch: number;
  readonly state: unknown;
  readonly resumed: boolean;
  readonly moves: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly readableLength: number;
  readonly writableLength: number;
}

/** One endpoint process. */
export class EndpointChild {
  readonly name: EndpointName;
  readonly process: ChildProcess;
  readonly #waiting = new Map<number, (message: { result?: unknown; error?: string }) => void>();
  #next = 1;

  constructor(name: EndpointName, child: ChildProcess) {
    this.name = name;
    this.process = child;
    child.on('message', (message: { n?: number; result?: unknown; error?: string }) => {
      if (message.n !== undefined) this.#waiting.get(message.n)?.(message);
    });
  }

  /** Runs a command of app.mjs in the process. */
  async tell<T>(command: string, args: object = {}): Promise<T> {
    const n = this.#next++;
    const answer = new Promise<{ result?: unknown; error?: string }>((resolve) =>
      this.#waiting.set(n, resolve),
    );
    this.process.send({ n, command, args });
    const { result, error } = await answer;
    this.#waiting.delete(n);
    if (error !== undefined) throw new Error(`${this.name} ${command}: ${error}`);
    return result as T;
  }

  /** The session as its process sees it; undefined if it is not there. */
  async session(id: string): Promise<SeenSession | undefined> {
    const all = await this.tell<SeenSession[]>('sessions');
    return all.find((session) => session.id === id);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}

/** What an endpoint says of a session that has ended. */
export type EndedSession = Extract<FromEndpoint, { t: 'ended' }>['sessions'][number];

/** Network, certificates, access point. */
export class World {
  readonly net: TwoEndpoints;
  readonly pki: DevPki;
  readonly #directory: string;
  accessPoint: FakeAccessPoint;
  readonly #children: EndpointChild[] = [];
  readonly #agents = new Map<EndpointName, EndpointChild>();
  #bpf: TestBpfDirectory | undefined;
  readonly #sockets: Socket[] = [];
  #moves = 0;

  private constructor(net: TwoEndpoints, pki: DevPki, directory: string, accessPoint: FakeAccessPoint) {
    this.net = net;
    this.pki = pki;
    this.#directory = directory;
    this.accessPoint = accessPoint;
  }

  /** Builds everything; this thread lives in the client's namespace from then on. */
  static async open(): Promise<World> {
    const net = createTwoEndpoints();
    const directory = mkdtempSync(join(tmpdir(), 'restitch-endpoint-'));
    enterNetworkNamespace(net.namespacePath('client'));
    const pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
    const accessPoint = await FakeAccessPoint.open(net.client4, await pki.issue('access-point', 'ap'));
    return new World(net, pki, directory, accessPoint);
  }

  /** Starts an endpoint process and waits until it has announced itself. */
  async start(name: EndpointName, options: ChildOptions = {}): Promise<EndpointChild> {
    const { applications = ['echo', 'lines', 'download', 'idle'] } = options;
    const address = options.ipv6 === true ? this.net.vip6 : this.net.vip4;
    const config = {
      name,
      verbose: process.env['VERBOSE'] !== undefined,
      upgradeState: options.upgradeState,
      endpoint: await this.#identity(name, options),
      listeners: applications.map((application) => ({
        name: application,
        application,
        address,
        port: ports[application],
        allowHalfOpen: true,
        protection: options.protection,
      })),
    };
    if (options.protection !== undefined) await this.startAgent(name);
    const node = options.node ?? process.execPath;
    const { uid } = options;
    const drop = uid === undefined ? [] : dropTo(uid);
    if (uid !== undefined) this.#giveFiles(uid);
    const child = spawn(
      'nsenter',
      [`--net=${this.net.namespacePath(name)}`, ...drop, node, appFile, JSON.stringify(config)],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    const endpoint = new EndpointChild(name, child);
    this.#children.push(endpoint);
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code) => reject(new Error(`endpoint ${name} exited with ${code}`)));
    });
    if (options.accessPointPort === undefined) await this.accessPoint.peer(name, applications.length);
    return endpoint;
  }

  #agentSocket(name: EndpointName): string {
    return join(this.#directory, `agent-${name}.sock`);
  }

  /** The agent of an endpoint's host, which outlives the endpoint. */
  async startAgent(name: EndpointName): Promise<void> {
    if (this.#agents.has(name)) return;
    this.#bpf ??= openBpfDirectory();
    const pinDirectory = `${this.#bpf.path}/${name}`;
    const config = { name, socketPath: this.#agentSocket(name), pinDirectory, interfaces: ['eth0'] };
    const child = spawn(
      'nsenter',
      [`--net=${this.net.namespacePath(name)}`, process.execPath, agentFile, JSON.stringify(config)],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    const agent = new EndpointChild(name, child);
    this.#agents.set(name, agent);
    await once(child, 'message');
  }

  /** Starts an example as its readers do, and waits until it has announced itself. */
  async startExample(
    name: EndpointName,
    example: string,
    directory: string,
    options: ChildOptions = {},
  ): Promise<EndpointChild> {
    if (options.protection !== undefined) await this.startAgent(name);
    const config = {
      endpoint: await this.#identity(name, options),
      listen: { host: this.net.vip4, port: 7000 },
      directory,
    };
    const configFile = join(this.#directory, `${name}.json`);
    writeFileSync(configFile, JSON.stringify(config));
    const file = fileURLToPath(new URL(`../../../examples/${example}.js`, import.meta.url));
    const child = spawn(
      'nsenter',
      [`--net=${this.net.namespacePath(name)}`, process.execPath, file, configFile],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    );
    const endpoint = new EndpointChild(name, child);
    this.#children.push(endpoint);
    await this.accessPoint.peer(name);
    return endpoint;
  }

  async #identity(name: EndpointName, options: ChildOptions): Promise<object> {
    return {
      name,
      accessPoint: { host: this.net.client4, port: options.accessPointPort ?? this.accessPoint.port },
      tls: await this.pki.issue('endpoint', name, { force: true }),
      stateAddress: { host: name === 'a' ? '10.9.0.2' : '10.9.0.3', port: 0 },
      app: { name: 'test', version: options.version ?? '1' },
      capacitySessions: options.capacitySessions,
      maxImageBytes: options.maxImageBytes,
      closing: options.closing,
      ...(options.protection === undefined ? {} : { guard: { agentSocket: this.#agentSocket(name) } }),
    };
  }

  #giveFiles(uid: number): void {
    chmodSync(this.#directory, 0o755);
    const { directory } = this.pki;
    for (const path of [directory, ...readdirSync(directory).map((file) => join(directory, file))]) {
      chownSync(path, uid, uid);
    }
  }

  /** A client's connection, served by whomever the client's packets go to. */
  async connect(application: Application, host = this.net.vip4): Promise<Socket> {
    const socket = connect({ host, port: ports[application], allowHalfOpen: true });
    this.#sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  /** A client's connection with what its endpoint reports of it. */
  async open(
    application: Application,
    at: EndpointName = 'a',
    host = this.net.vip4,
  ): Promise<{ client: Socket; report: SessionReport }> {
    const peer = await this.accessPoint.peer(at);
    const client = await this.connect(application, host);
    for (;;) {
      const { sessions } = await peer.event('opened');
      const report = sessions.find((s) => s.flow.client.port === client.localPort);
      if (report !== undefined) return { client, report };
    }
  }

  /** Waits until an endpoint says that this session has ended. */
  async ended(at: EndpointName, id: string): Promise<EndedSession> {
    const peer = await this.accessPoint.peer(at);
    for (;;) {
      const { sessions } = await peer.event('ended');
      const found = sessions.find((session) => session.id === id);
      if (found !== undefined) return found;
    }
  }

  /** The client's packets go nowhere. */
  cut(): void {
    this.net.run(
      'client',
      `ip neigh replace ${this.net.vip4} lladdr 02:09:00:00:00:0f dev br0 nud permanent`,
    );
  }

  newMoveId(): string {
    return `m${++this.#moves}`;
  }

  /** The steps before the freeze. */
  async reserveAndPrepare(
    report: SessionReport,
    from: EndpointName,
    to: EndpointName,
    epoch = report.epoch + 1,
  ): Promise<string> {
    const moveId = this.newMoveId();
    await this.accessPoint.reserveAndPrepare({ moveId, report, from, to }, epoch);
    return moveId;
  }

  /** A reserve request for this session. */
  reservation(source: FakePeer, report: SessionReport, moveId: string, epoch: number, expiresMs?: number) {
    return this.accessPoint.reservation(source, report, moveId, epoch, expiresMs);
  }

  /** A whole move; resolves with the session's new report when it is released. */
  async move(report: SessionReport, from: EndpointName, to: EndpointName): Promise<SessionReport> {
    const onSwitch = (): void => this.net.steer(to);
    await this.accessPoint.move({ moveId: this.newMoveId(), report, from, to, onSwitch });
    return { ...report, epoch: report.epoch + 1 };
  }

  /** Ends processes and sockets, and forgets the endpoints; the network stays. */
  async reset(): Promise<void> {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    for (const child of this.#children.splice(0)) await child.kill();
    await this.accessPoint.close();
    this.accessPoint = await FakeAccessPoint.open(
      this.net.client4,
      await this.pki.issue('access-point', 'ap', { force: true }),
    );
    this.net.steer('a');
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    for (const child of this.#children.splice(0)) await child.kill();
    for (const agent of this.#agents.values()) await agent.kill();
    this.#bpf?.close();
    await this.accessPoint.close();
    this.net.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A command line prefix that gives up everything but CAP_NET_ADMIN. */
function dropTo(uid: number): string[] {
  const caps = '-all,+net_admin';
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${uid}`,
    '--clear-groups',
    `--inh-caps=${caps}`,
    `--ambient-caps=${caps}`,
    `--bounding-set=${caps}`,
  ];
}
