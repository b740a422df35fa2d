/**
 * One laboratory: its network, its processes, and how all of it goes away again.
 *
 * Everything is written to the state file before it is made, so that `lab down` can remove what a crash left.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import { mountBpffs, unmountBpffs } from '@restitch/sys/internal';
import {
  cgroupDirectories,
  createCgroup,
  enterCgroup,
  removeCgroups,
  setCgroupLimits,
} from './lab-cgroup.js';
import type { CgroupLimits } from './lab-cgroup.js';
import { buildFabric, joinParty, removeNamespaces } from './lab-network.js';
import type { JoinOptions } from './lab-network.js';
import { createLabPlan, planEndpoint } from './lab-plan.js';
import type { LabPlan, PartyPlan } from './lab-plan.js';
import { readLabState, removeLabState, writeLabState } from './lab-state.js';
import type { LabProcess, LabState } from './lab-state.js';
import { identifyProcess, isSameProcess, signalProcess } from './process-identity.js';
import { runTool } from './run-tool.js';

/** What to start in a party's namespace. */
export interface PartyCommand {
  /** Unique among the laboratory's processes; names the log file. */
  readonly name: string;
  readonly party: PartyPlan;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Name of a cgroup of this laboratory, from `makeCgroup`. */
  readonly cgroup?: string;
  /** Its cgroup gets a CPU quota, which no real-time process keeps to: such a process is not favoured. */
  readonly isMetered?: boolean;
  /** Elsewhere it has a machine to itself (the access point), or is to answer whatever the others do (host agents). */
  readonly isOnItsOwn?: boolean;
  /** Opens a message channel to the process (a Node program). */
  readonly hasChannel?: boolean;
}

/** Set it to measure on a machine that is not idle. */
const favourVariable = 'RESTITCH_LAB_FAVOUR';

/** How long processes get between SIGTERM and SIGKILL. */
const terminateMs = 1500;

/** A laboratory under construction or in use by this process. */
export class Lab {
  readonly plan: LabPlan;
  #state: LabState;
  #isDown = false;

  private constructor(state: LabState) {
    this.plan = createLabPlan(state.id);
    this.#state = state;
  }

  /** Takes the id and writes the first state file. Throws `usage` for the id of a laboratory that is there. */
  static create(state: LabState): Lab {
    const lab = new Lab(state);
    if (existsSync(lab.plan.stateFile)) {
      const remedy = `restitch lab down --lab ${state.id}`;
      throw new RestitchError('usage', `laboratory ${state.id} is there already: ${remedy} removes it`);
    }
    mkdirSync(lab.plan.directory, { recursive: true, mode: 0o700 });
    writeLabState(state);
    return lab;
  }

  /** The laboratory another process has made. Throws `usage` if there is none. */
  static attach(id: string): Lab {
    return new Lab(readLabState(id));
  }

  /** What is there now. */
  get state(): LabState {
    return this.#state;
  }

  /** The party of that name. Throws `usage` for one that is not there. */
  party(name: string): PartyPlan {
    if (name === 'client') return this.plan.client;
    if (name === 'access-point') return this.plan.accessPoint;
    const index = this.#state.endpoints.indexOf(name) < 0 ? -1 : name.charCodeAt(0) - 97;
    if (index < 0) {
      const known = ['client', 'access-point', ...this.#state.endpoints].join(', ');
      throw new RestitchError('usage', `laboratory ${this.plan.id} has no party ${name}: it has ${known}`);
    }
    return planEndpoint(this.plan, index);
  }

  /**
   * Mounts the laboratory's BPF file system, in this mount namespace: `lab exec`, `lab down` and a daemon's successor are
   * other processes, and must find the pins.
   */
  mountBpf(): void {
    mkdirSync(this.plan.bpfDirectory, { recursive: true, mode: 0o700 });
    // Of an earlier laboratory of this name, whose state file somebody has removed.
    unmountBpffs(this.plan.bpfDirectory);
    mountBpffs(this.plan.bpfDirectory, 0o700);
  }

  /** Makes the bridge. */
  buildFabric(): void {
    this.#update({ namespaces: [...this.#state.namespaces, this.plan.fabricNamespace] });
    buildFabric(this.plan);
  }

  /** Makes a party's namespace and link. */
  join(party: PartyPlan, options: JoinOptions = {}): void {
    this.#update({
      namespaces: [...this.#state.namespaces, party.namespace],
      endpoints: party.role === 'endpoint' ? [...this.#state.endpoints, party.name] : this.#state.endpoints,
    });
    joinParty(this.plan, party, options);
  }

  /** Makes the cgroup of an endpoint and returns its name. */
  makeCgroup(party: PartyPlan): string {
    const name = `${this.plan.cgroupPrefix}-${party.name}`;
    this.#update({ cgroups: [...this.#state.cgroups.filter((c) => c !== name), name] });
    createCgroup(name);
    return name;
  }

  /** Directories of an endpoint's cgroup. */
  cgroupOf(party: PartyPlan): string[] {
    return cgroupDirectories(`${this.plan.cgroupPrefix}-${party.name}`);
  }

  /** Sets the limits of a running endpoint. */
  limit(party: PartyPlan, limits: CgroupLimits): void {
    setCgroupLimits(`${this.plan.cgroupPrefix}-${party.name}`, limits);
  }

  /** Path of a process's log. */
  logFile(name: string): string {
    return `${this.plan.directory}/${name}.log`;
  }

  /** The end of every log, for a failure that takes the logs with it. */
  lastLogLines(lines = 5): string {
    const logs = readdirSync(this.plan.directory).filter((file) => file.endsWith('.log'));
    const tails = logs.map((file) => {
      const text = readFileSync(`${this.plan.directory}/${file}`, 'utf8').trimEnd();
      return text === '' ? '' : `--- ${file}\n${text.split('\n').slice(-lines).join('\n')}`;
    });
    return tails.filter((tail) => tail !== '').join('\n');
  }

  /** Starts a process in a party's namespace; its output goes to its log. */
  start(command: PartyCommand): ChildProcess {
    if (this.#isDown) throw new RestitchError('closed', `laboratory ${this.plan.id} is down`);
    const log = openSync(this.logFile(command.name), 'a');
    const stdio: StdioOptions = ['ignore', log, log];
    if (command.hasChannel === true) stdio.push('ipc');
    // nsenter and not "ip netns exec": the latter lives in a mount namespace of its own, and mounts a fresh /sys.
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${command.party.namespace}`, '--', command.command, ...command.args],
      { stdio, detached: true, env: { ...process.env, ...command.env }, serialization: 'advanced' },
    );
    closeSync(log);
    if (child.pid === undefined) {
      throw new RestitchError('syscall_failed', `laboratory ${this.plan.id}: cannot start ${command.name}`);
    }
    // Before anything can fail: what is not listed is not taken down.
    this.#addProcess(command.name, child.pid);
    const isFavoured = process.env[favourVariable] !== undefined && command.isMetered !== true;
    if (command.cgroup !== undefined) {
      // A processor cgroup takes no real-time process unless it was given a real-time budget.
      const directories = createCgroup(command.cgroup).filter((d) => !isFavoured || !/\/cpu[/,]/.test(d));
      enterCgroup(directories, child.pid);
    }
    if (isFavoured) favour(child.pid, command.isOnItsOwn === true ? 6 : 5);
    return child;
  }

  /** The running process of that name. */
  findProcess(name: string): LabProcess | undefined {
    return this.#state.processes.find((p) => p.name === name && isSameProcess(p));
  }

  /** Ends a process and waits until it is gone. */
  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const found = this.#state.processes.filter((p) => p.name === name);
    await endProcesses(found, signal);
    this.#update({ processes: this.#state.processes.filter((p) => !found.includes(p)) });
  }

  /** Removes everything; what does not exist is passed over. Idempotent. */
  async down(): Promise<void> {
    this.#isDown = true;
    const isEndpoint = (p: LabProcess): boolean => this.#state.endpoints.includes(p.name);
    // An endpoint that is asked to leave moves its sessions away first, and here is nowhere to go.
    await endProcesses(this.#state.processes.filter(isEndpoint), 'SIGKILL');
    await endProcesses(
      this.#state.processes.filter((p) => !isEndpoint(p)),
      'SIGTERM',
    );
    removeNamespaces(this.#state.namespaces);
    // Pins go first: where a copy of the mount lives on in another mount namespace, they would keep their maps.
    rmSync(this.plan.pinDirectory, { recursive: true, force: true });
    unmountBpffs(this.plan.bpfDirectory);
    for (const cgroup of this.#state.cgroups) {
      const isGone = await waitUntil(() => removeCgroups(createCgroup(cgroup)), 2000);
      if (!isGone) throw new RestitchError('syscall_failed', `cgroup ${cgroup} is still in use`);
    }
    removeLabState(this.plan.id);
  }

  #addProcess(name: string, pid: number): void {
    const identity = identifyProcess(pid);
    if (identity === undefined) return;
    const running = this.#state.processes.filter(isSameProcess);
    this.#update({ processes: [...running, { ...identity, name }] });
  }

  #update(change: Partial<LabState>): void {
    this.#state = { ...this.#state, ...change };
    writeLabState(this.#state);
  }
}

/**
 * Measuring on a machine that others use: the laboratory's processes are real-time ones, so that the others' run only
 * when these wait, as if the machine were idle. Real-time processes of one priority wait for each other's whole time slice
 * (100 ms), those of a higher one do not.
 */
function favour(pid: number, priority: number): void {
  runTool('chrt', ['--all-tasks', '--rr', '--pid', String(priority), String(pid)]);
}

/** Resolves true as soon as `isDone` holds, false after `limitMs`. */
export async function waitUntil(isDone: () => boolean, limitMs: number): Promise<boolean> {
  const stepMs = 10;
  for (let waitedMs = 0; ; waitedMs += stepMs) {
    if (isDone()) return true;
    if (waitedMs >= limitMs) return false;
    await new Promise((resolve) => setTimeout(resolve, stepMs));
  }
}

async function endProcesses(processes: readonly LabProcess[], signal: NodeJS.Signals): Promise<void> {
  const left = processes.filter((p) => signalProcess(p, signal));
  const isGone = (): boolean => left.every((p) => !isSameProcess(p));
  if (await waitUntil(isGone, terminateMs)) return;
  for (const p of left) signalProcess(p, 'SIGKILL');
  if (await waitUntil(isGone, terminateMs)) return;
  throw new RestitchError(
    'internal',
    `processes ${left.map((p) => `${p.name} ${p.pid}`).join(', ')} do not end`,
  );
}
