/** Opens the data plane: programs and maps loaded or adopted, attached, and the calls of the contract over them. */
import { RestitchError, encodeFlowKey, flowKeyBytes, silentLogger, systemClock } from '@restitch/core';
import type { Flow } from '@restitch/core';
import {
  attachTc,
  detachTc,
  interfaceIndex,
  lookupElement,
  openRawSender,
  openTap,
} from '@restitch/sys/internal';
import type { RawSender, Tap, TcFilter, TcHook } from '@restitch/sys/internal';
import type {
  Dataplane,
  DataplaneOptions,
  DataplaneStats,
  FlowChange,
  FlowChangeResult,
  FlowRecord,
  ForwardTarget,
  ResetOutcome,
  VirtualService,
} from './contract.js';
import { ClientResets } from './client-resets.js';
import { createClosingSweep } from './closing-sweep.js';
import type { ClosingSweep } from './closing-sweep.js';
import { createControlProgram } from './control.js';
import type { Command, ControlProgram } from './control.js';
import { createHoldQueue } from './hold-queue.js';
import type { HoldQueue } from './hold-queue.js';
import { forgetHalfOpenOf } from './half-open.js';
import { flowStates, flowValueLayout, maxEpoch } from './layout.js';
import { loadPinned, removePins } from './pins.js';
import type { LoadedPrograms } from './pins.js';
import { decodeRecord, listRecords, listRecordsOf, listTagged, readStats } from './records.js';
import { openSettings } from './settings.js';
import type { Settings } from './settings.js';
import { createServices } from './services.js';
import type { Services } from './services.js';
import { assertEndpointId, openTargets } from './targets.js';
import type { Targets } from './targets.js';

/** Our filter among others at the same hook: "rs". */
const tcFilter: TcFilter = { handle: 0x7273, priority: 1 };
/** Frames the hold device queues. BPF holds fewer than that, so it never overflows. */
const holdQueueFrames = 16384;
/** A release is over by then in any case: frames that died in the hold device must not wedge a flow. */
const releaseLimitNs = 50_000_000n;
/** Frames that other CPUs may have on the way when the bound is reached. */
const holdQueueReserve = 256;

/** Opens the data plane on an interface of the current network namespace. See the contract. */
export function openDataplane(options: DataplaneOptions): Dataplane {
  // First, because its name is taken while another daemon lives: nothing of that one's has been touched by then.
  const tap = openTap(options.holdDevice, holdQueueFrames);
  let programs: LoadedPrograms | undefined;
  try {
    programs = loadPinned(options.pinDirectory, options);
    return new BpfDataplane(options, programs, tap);
  } catch (error) {
    tap.close();
    if (programs !== undefined) closePrograms(programs);
    throw error;
  }
}

class BpfDataplane implements Dataplane {
  readonly isAdopted: boolean;
  readonly #options: DataplaneOptions;
  readonly #programs: LoadedPrograms;
  readonly #control: ControlProgram;
  readonly #settings: Settings;
  readonly #queue: HoldQueue;
  readonly #closing: ClosingSweep;
  readonly #services: Services;
  readonly #targets: Targets;
  readonly #vipInterface: number;
  readonly #resets = new ClientResets();
  #sender: RawSender | undefined;
  #isClosed = false;

  constructor(options: DataplaneOptions, programs: LoadedPrograms, tap: Tap) {
    this.#options = options;
    this.#programs = programs;
    const { maps, isAdopted } = programs;
    const clock = options.clock ?? systemClock;
    this.#vipInterface = interfaceIndex(options.interfaceName);
    this.#control = createControlProgram(programs.control.value, maps.command_map.value);
    const holdFrames = holdQueueFrames - holdQueueReserve;
    this.#settings = openSettings(maps.settings_map.value, { isAdopted, holdFrames }, options);
    this.isAdopted = isAdopted && !this.#settings.wasRebuilding;
    this.#forgetHeld();
    this.#queue = createHoldQueue({ tap, control: this.#control, clock });
    this.#closing = createClosingSweep(this.#control, clock);
    attachTc(atIngress(tap.interfaceIndex), tcFilter, programs.reenter.value);
    this.#settings.setHoldInterface(tap.interfaceIndex);
    this.#takeOver();
    this.#services = createServices(maps);
    this.#targets = openTargets({
      endpointMapFd: maps.endpoints.value,
      interfaceName: options.interfaceName,
      interfaceIndex: this.#vipInterface,
      clock,
      logger: options.logger ?? silentLogger,
    });
    attachTc(atIngress(this.#vipInterface), tcFilter, programs.steer.value);
  }

  setRebuilding(on: boolean): void {
    this.#assertOpen();
    this.#settings.setRebuilding(on);
  }

  setTarget(target: ForwardTarget): void {
    this.#assertOpen();
    this.#targets.set(target);
  }

  removeTarget(endpointId: number): void {
    this.#assertOpen();
    this.#targets.remove(endpointId);
  }

  setServices(services: readonly VirtualService[]): void {
    this.#assertOpen();
    this.#services.set(services);
  }

  apply(changes: readonly FlowChange[]): FlowChangeResult[] {
    this.#assertOpen();
    const commands = changes.map((change) => this.#toCommand(change));
    const outcomes = this.#control.run(commands);
    this.#queue.settle(commands, outcomes);
    commands.forEach(({ op, flow, epoch, deadlineNs = 0n }, i) => {
      if (op === 'close' && outcomes[i]?.result === 'ok') this.#closing.add({ flow, epoch, deadlineNs });
    });
    return outcomes.map((outcome) => outcome.result);
  }

  lookup(flow: Flow): FlowRecord | undefined {
    this.#assertOpen();
    const key = Buffer.alloc(flowKeyBytes);
    encodeFlowKey(flow, key);
    const value = Buffer.alloc(flowValueLayout.sizeBytes);
    return lookupElement(this.#programs.maps.flows.value, key, value)
      ? decodeRecord(key, value, 0, 0)
      : undefined;
  }

  resetClient(flow: Flow, deadlineMs: number): Promise<ResetOutcome> {
    this.#assertOpen();
    this.#sender ??= openRawSender();
    const clock = this.#options.clock ?? systemClock;
    return this.#resets.run({ flow, deadlineMs, clock, queue: this.#queue, sender: this.#sender });
  }

  list(idleSinceNs?: bigint): FlowRecord[] {
    this.#assertOpen();
    return listRecords(this.#programs.maps.flows.value, idleSinceNs);
  }

  *listOf(endpointId: number): Generator<FlowRecord[], void> {
    this.#assertOpen();
    for (const records of listRecordsOf(this.#programs.maps.flows.value, endpointId)) {
      yield records;
      // Closed meanwhile: the descriptor's number may be another's.
      this.#assertOpen();
    }
  }

  forgetHalfOpen(endpointId: number): number {
    this.#assertOpen();
    return forgetHalfOpenOf(this.#programs.maps.half_open.value, assertEndpointId(endpointId));
  }

  stats(): DataplaneStats {
    this.#assertOpen();
    return readStats(this.#programs.maps);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#resets.close();
    this.#sender?.close();
    this.#targets.close();
    this.#services.close();
    this.#closing.close();
    this.#queue.close();
    this.#control.close();
    closePrograms(this.#programs);
  }

  destroy(): void {
    detachTc(atIngress(this.#vipInterface), tcFilter);
    this.close();
    removePins(this.#options.pinDirectory);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new RestitchError('closed', 'data plane used after close');
  }

  #nowNs(): bigint {
    return (this.#options.clock ?? systemClock).monotonicNs();
  }

  #toCommand(change: FlowChange): Command {
    const { op, flow } = change;
    const epoch = assertEpoch(change.epoch);
    switch (change.op) {
      case 'claim':
        return { op, flow, epoch, endpointId: assertEndpointId(change.endpointId) };
      case 'hold':
      case 'freeze':
        return { op, flow, epoch, deadlineNs: change.deadlineNs, holdTag: this.#queue.nextTag() };
      case 'switch': {
        const endpointId = assertEndpointId(change.endpointId);
        return { op, flow, epoch, endpointId, newEpoch: assertEpoch(change.newEpoch) };
      }
      case 'close': {
        const lingerNs = BigInt(Math.round(change.lingerMs * 1e6));
        return { op, flow, epoch, deadlineNs: this.#nowNs() + lingerNs };
      }
      case 'release':
        return { op, flow, epoch, deadlineNs: this.#nowNs() + releaseLimitNs };
      case 'remove':
        return { op, flow, epoch };
    }
  }

  /** Frames in the last daemon's hold device died with it; without this, its flows would wait for them. */
  #forgetHeld(): void {
    if (!this.#programs.isAdopted) return;
    const lost = listTagged(this.#programs.maps.flows.value).filter(
      ({ word }) => word.outstanding > 0 || word.state === flowStates.releasing,
    );
    this.#control.run(lost.map(({ key, epoch }) => ({ op: 'forget', flow: key, epoch })));
    this.#control.run([{ op: 'reset-held', flow: new Uint8Array(flowKeyBytes), epoch: 0 }]);
  }

  /** What an earlier daemon was holding or closing goes on here. */
  #takeOver(): void {
    if (!this.#programs.isAdopted) return;
    for (const record of this.list())
      if (record.phase === 'closing') this.#closing.add({ ...record, deadlineNs: record.holdDeadlineNs });
    for (const held of listTagged(this.#programs.maps.flows.value)) {
      const isHeld = held.word.state === flowStates.hold || held.word.state === flowStates.frozen;
      this.#queue.track(isHeld ? held : { ...held, deadlineNs: 0n });
    }
  }
}

const atIngress = (index: number): TcHook => ({ interfaceIndex: index, direction: 'ingress' });

function closePrograms({ maps, steer, reenter, control }: LoadedPrograms): void {
  for (const fd of [...Object.values(maps), steer, reenter, control]) fd.close();
}

function assertEpoch(epoch: number): number {
  if (Number.isInteger(epoch) && epoch >= 0 && epoch <= maxEpoch) return epoch;
  throw new RestitchError('usage', `epoch ${epoch} is not 0 … ${maxEpoch}`);
}
