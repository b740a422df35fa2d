/**
 * Frames of moving flows. BPF decides what is kept, how much and in which state; this queue only moves frames: it
 * drains the hold device into one queue per hold tag, and writes a flow's frames back in their order when it may.
 *
 * Strict order: a releasing flow becomes active by `settle` only after the write of its last frame has returned (the
 * frame has then left through the steering program) and nothing more is outstanding. Turning active inside the program
 * that forwards the last frame would let a fresh frame on another CPU overtake it.
 *
 * Frames never end here: everything read from the device is written back, also when it comes too late, so that BPF's
 * accounts close. What BPF then does with a late frame is its decision.
 */
import { encodeFlowKey, flowKeyBytes } from '@restitch/core';
import type { Clock } from '@restitch/core';
import { maxTapFrameBytes, vnetHeaderBytes } from '@restitch/sys/internal';
import type { Tap } from '@restitch/sys/internal';
import type { Command, CommandOutcome, ControlProgram } from './control.js';
import { flowStates } from './layout.js';

/** How often the device is looked after while anything is held; a release does not wait for it. */
const tickMs = 3;
/** Twice what the device can hold: frames that BPF keeps sending round must not hold up the process. */
const drainLimit = 32768;
/** A frame that is counted but not yet in the device is a few microseconds away; more tries are the timer's. */
const settleTries = 32;

/** Looks that must find nothing before the device is left alone: longer than BPF keeps frames past a deadline. */
const lastTicks = 20;

/** A held flow as the queue knows it. */
interface HeldFlow {
  readonly key: Uint8Array;
  readonly tag: number;
  epoch: number;
  deadlineNs: bigint;
  isReleasing: boolean;
  frames: Buffer[];
}

/** A record that an earlier daemon held. */
export interface HeldRecord {
  readonly key: Uint8Array;
  readonly tag: number;
  readonly epoch: number;
  readonly deadlineNs: bigint;
}

/** What the queue needs. */
export interface HoldQueueOptions {
  readonly tap: Tap;
  readonly control: ControlProgram;
  readonly clock: Clock;
}

/** Called with frames in their order; it must not keep them. */
type FrameListener = (frames: readonly Uint8Array[]) => void;

/** The frames of moving flows. */
export interface HoldQueue {
  /** A tag that no flow has yet. */
  nextTag(): number;
  /** Follows up commands that were run: what is held, what is to be delivered now. */
  settle(commands: readonly Command[], outcomes: readonly CommandOutcome[]): void;
  /** Takes over a record found in the maps. */
  track(held: HeldRecord): void;
  /**
   * Tells of the frames (Ethernet and up) of a flow: those that are held now, then those that come. They are held all
   * the same. The returned function ends it.
   */
  listen(flowKey: Uint8Array, listener: FrameListener): () => void;
  /** Flows that are being held or released. */
  readonly size: number;
  close(): void;
}

/** A queue over an open hold device. */
export function createHoldQueue(options: HoldQueueOptions): HoldQueue {
  return new TapHoldQueue(options);
}

class TapHoldQueue implements HoldQueue {
  readonly #tap: Tap;
  readonly #control: ControlProgram;
  readonly #clock: Clock;
  readonly #held = new Map<number, HeldFlow>();
  readonly #releasing = new Set<HeldFlow>();
  readonly #memory = Buffer.alloc(maxTapFrameBytes);
  /** By flow key in hexadecimal: a flow's tag changes when it is held anew. */
  readonly #listeners = new Map<string, FrameListener>();
  #lastTag = 0;
  #quietTicks = 0;
  #cancelTick: (() => void) | undefined;

  constructor(options: HoldQueueOptions) {
    this.#tap = options.tap;
    this.#control = options.control;
    this.#clock = options.clock;
  }

  get size(): number {
    return this.#held.size;
  }

  nextTag(): number {
    this.#lastTag = (this.#lastTag % 0xffffffff) + 1;
    return this.#lastTag;
  }

  settle(commands: readonly Command[], outcomes: readonly CommandOutcome[]): void {
    let isDue = false;
    outcomes.forEach((outcome, i) => {
      const command = commands[i];
      if (command === undefined || outcome.result !== 'ok' || outcome.holdTag === 0) return;
      isDue = this.#follow(command, outcome) || isDue;
    });
    if (isDue) this.#deliver();
    this.#schedule();
  }

  close(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#held.clear();
    this.#releasing.clear();
    this.#listeners.clear();
    this.#tap.close();
  }

  track(held: HeldRecord): void {
    this.#lastTag = Math.max(this.#lastTag, held.tag);
    if (held.deadlineNs <= this.#clock.monotonicNs()) return;
    this.#held.set(held.tag, { ...held, isReleasing: false, frames: [] });
    this.#schedule();
  }

  listen(flowKey: Uint8Array, listener: FrameListener): () => void {
    const key = toHex(flowKey);
    this.#drain();
    const frames = [...this.#held.values()]
      .filter((flow) => toHex(flow.key) === key)
      .flatMap((f) => f.frames);
    this.#listeners.set(key, listener);
    listener(frames.map(withoutVnetHeader));
    return () => {
      if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
    };
  }

  /** True if frames are to be delivered. */
  #follow(command: Command, outcome: CommandOutcome): boolean {
    const { holdTag: tag, word } = outcome;
    const isHeld = word.state === flowStates.hold || word.state === flowStates.frozen;
    let flow = this.#held.get(tag);
    if (flow === undefined) {
      if (!isHeld && word.outstanding === 0) return false;
      const key = command.flow instanceof Uint8Array ? command.flow : encodeFlowKey(command.flow);
      flow = { key, tag, epoch: word.epoch, deadlineNs: 0n, isReleasing: false, frames: [] };
      this.#held.set(tag, flow);
    }
    flow.epoch = word.epoch;
    flow.deadlineNs = command.deadlineNs ?? flow.deadlineNs;
    if (isHeld && command.op !== 'remove') {
      // Perhaps held again before an earlier release had settled: what is written back now would only come round again.
      flow.isReleasing = false;
      this.#releasing.delete(flow);
      return false;
    }
    if (word.outstanding === 0) {
      this.#end(flow);
      return false;
    }
    // Released, closed or removed with frames under way.
    flow.isReleasing = true;
    this.#releasing.add(flow);
    return true;
  }

  #end(flow: HeldFlow): void {
    this.#held.delete(flow.tag);
    this.#releasing.delete(flow);
  }

  /** Writes back what may go, until the releasing flows have settled or the tries are used up. */
  #deliver(): void {
    for (const flow of this.#releasing) this.#writeFrames(flow);
    for (let i = 0; i < settleTries; i++) {
      this.#drain();
      if (!this.#settleReleasing()) return;
    }
  }

  /** Empties the device; frames of flows that are not held go straight back. Answers how many there were. */
  #drain(): number {
    for (let count = 0; ; count++) {
      const bytes = count < drainLimit ? this.#tap.read(this.#memory) : 0;
      if (bytes === 0) return count;
      const flow = this.#held.get(this.#memory.readUInt32BE(vnetHeaderBytes + 2));
      if (flow === undefined || flow.isReleasing) this.#tap.write(this.#memory, bytes);
      else {
        const frame = Buffer.from(this.#memory.subarray(0, bytes));
        flow.frames.push(frame);
        if (this.#listeners.size > 0) this.#listeners.get(toHex(flow.key))?.([withoutVnetHeader(frame)]);
      }
    }
  }

  #writeFrames(flow: HeldFlow): void {
    const { frames } = flow;
    flow.frames = [];
    for (const frame of frames) this.#tap.write(frame, frame.length);
  }

  /** Turns released flows active; true if one of them still has frames under way. */
  #settleReleasing(): boolean {
    if (this.#releasing.size === 0) return false;
    const releasing = [...this.#releasing];
    const outcomes = this.#control.run(
      releasing.map((flow) => ({ op: 'settle', flow: flow.key, epoch: flow.epoch })),
    );
    let isWaiting = false;
    outcomes.forEach((outcome, i) => {
      const flow = releasing[i];
      if (flow === undefined) return;
      if (outcome.result === 'phase' && outcome.word.state === flowStates.releasing) {
        isWaiting = true;
        return;
      }
      this.#end(flow);
      // Past its deadline with frames still counted: they died on the way, and are not coming.
      if (outcome.result === 'ok' && outcome.word.outstanding > 0)
        this.#control.run([{ op: 'forget', flow: flow.key, epoch: flow.epoch }]);
    });
    return isWaiting;
  }

  #schedule(): void {
    if (this.#held.size === 0) return;
    this.#quietTicks = 0;
    this.#cancelTick ??= this.#clock.after(tickMs, () => this.#tick());
  }

  #tick(): void {
    this.#cancelTick = undefined;
    this.#expire();
    const drained = this.#drain();
    this.#settleReleasing();
    this.#quietTicks = this.#held.size > 0 || drained > 0 ? 0 : this.#quietTicks + 1;
    if (this.#quietTicks < lastTicks) {
      this.#cancelTick = this.#clock.after(tickMs, () => this.#tick());
      return;
    }
    // Frames that were counted and lost on the way would narrow the bounds for good.
    this.#control.run([{ op: 'reset-held', flow: new Uint8Array(flowKeyBytes), epoch: 0 }]);
  }

  /** A hold past its deadline: BPF no longer keeps the flow's frames, so they go back and it decides. */
  #expire(): void {
    const nowNs = this.#clock.monotonicNs();
    for (const flow of this.#held.values()) {
      if (flow.isReleasing || flow.deadlineNs > nowNs) continue;
      this.#writeFrames(flow);
      this.#end(flow);
    }
  }
}

const withoutVnetHeader = (frame: Buffer): Buffer => frame.subarray(vnetHeaderBytes);

function toHex(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex');
}
