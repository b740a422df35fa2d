/**
 * Where endpoints are: their MACs from the kernel's neighbour table, verified every second, so that a replaced NIC is
 * noticed although direct return never shows us an answer. A MAC that fails is kept until a better one is known: a
 * packet to a silent endpoint is lost either way.
 */
import type { Clock, Logger } from '@restitch/core';
import { RestitchError, normalizeAddress } from '@restitch/core';
import { interfaceMac, lookupElement, openNeighbourTable, updateElement } from '@restitch/sys/internal';
import type { Neighbour } from '@restitch/sys/internal';
import type { ForwardTarget } from './contract.js';
import { actionL2, endpointValueLayout, maxEndpoints } from './layout.js';

/** One unicast question per endpoint and second; a lost NIC is noticed within about three. */
const verifyMs = 1000;
/** Changes are read this often: an endpoint that announces its new MAC itself is followed at once. */
const readMs = 100;
/** A neighbour on the same wire answers in less than a millisecond. */
const firstAnswerMs = 20;

interface Target {
  readonly endpointId: number;
  readonly address: string;
  mac: Buffer | undefined;
  isVerifying: boolean;
}

/** What keeping targets needs. */
export interface TargetsOptions {
  readonly endpointMapFd: number;
  readonly interfaceName: string;
  readonly interfaceIndex: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The forwarding targets, kept fresh until `close`. */
export interface Targets {
  set(target: ForwardTarget): void;
  remove(endpointId: number): void;
  close(): void;
}

/** Starts keeping targets; entries that are in the map already stay until they are set or removed. */
export function openTargets(options: TargetsOptions): Targets {
  return new NeighbourTargets(options);
}

class NeighbourTargets implements Targets {
  readonly #options: TargetsOptions;
  readonly #table;
  readonly #targets = new Map<number, Target>();
  readonly #neighbours = new Map<string, Neighbour>();
  #lastVerifyMs: number;
  #ownMac: Buffer;
  #cancel: (() => void) | undefined;

  constructor(options: TargetsOptions) {
    this.#options = options;
    this.#ownMac = interfaceMac(options.interfaceName);
    this.#table = openNeighbourTable(options.interfaceIndex);
    this.#table.requestAll();
    this.#read();
    this.#lastVerifyMs = options.clock.monotonicMs();
    this.#schedule();
  }

  set(target: ForwardTarget): void {
    assertEndpointId(target.endpointId);
    const address = normalizeAddress(target.dataAddress);
    const known = this.#targets.get(target.endpointId);
    if (known?.address === address) return;
    const mac = this.#neighbours.get(address)?.mac ?? known?.mac ?? this.#readMac(target.endpointId);
    const fresh: Target = { endpointId: target.endpointId, address, mac, isVerifying: false };
    this.#targets.set(target.endpointId, fresh);
    this.#write(fresh);
    if (this.#neighbours.get(address)?.mac !== undefined) return;
    this.#table.resolve(address);
    const untilMs = this.#options.clock.monotonicMs() + firstAnswerMs;
    while (this.#neighbours.get(address)?.mac === undefined && this.#options.clock.monotonicMs() < untilMs) {
      this.#table.wait(firstAnswerMs);
      this.#read();
    }
  }

  remove(endpointId: number): void {
    assertEndpointId(endpointId);
    this.#targets.delete(endpointId);
    updateElement(
      this.#options.endpointMapFd,
      encodeId(endpointId),
      Buffer.alloc(endpointValueLayout.sizeBytes),
    );
  }

  close(): void {
    this.#cancel?.();
    this.#table.close();
  }

  #schedule(): void {
    this.#cancel = this.#options.clock.after(readMs, () => {
      this.#read();
      const nowMs = this.#options.clock.monotonicMs();
      if (nowMs - this.#lastVerifyMs >= verifyMs) {
        this.#lastVerifyMs = nowMs;
        this.#followOwnMac();
        for (const target of this.#targets.values()) this.#verify(target);
      }
      this.#schedule();
    });
  }

  /** Our own interface may be replaced too: its MAC is the source of what we forward. */
  #followOwnMac(): void {
    const mac = interfaceMac(this.#options.interfaceName);
    if (this.#ownMac.equals(mac)) return;
    this.#ownMac = mac;
    for (const target of this.#targets.values()) this.#write(target);
  }

  /** One round: a neighbour that answered is asked again, one that was silent since the last round is asked of everyone. */
  #verify(target: Target): void {
    const neighbour = this.#neighbours.get(target.address);
    const mac = neighbour?.mac ?? target.mac;
    // The operator's own entry stays as it is.
    if (neighbour?.state === 'permanent' || neighbour?.state === 'noarp') return;
    if (target.isVerifying || mac === undefined || neighbour?.state === 'failed') {
      target.isVerifying = false;
      this.#table.forget(target.address);
      this.#table.resolve(target.address);
      return;
    }
    target.isVerifying = true;
    this.#table.verify(target.address, mac);
  }

  #read(): void {
    for (const neighbour of this.#table.read()) {
      if (neighbour.state === 'gone') this.#neighbours.delete(neighbour.address);
      else this.#neighbours.set(neighbour.address, neighbour);
      for (const target of this.#targets.values())
        if (target.address === neighbour.address) this.#take(target, neighbour);
    }
  }

  #take(target: Target, neighbour: Neighbour): void {
    if (neighbour.state === 'reachable' || neighbour.state === 'permanent') target.isVerifying = false;
    const { mac } = neighbour;
    if (mac === undefined || neighbour.state === 'failed' || target.mac?.equals(mac) === true) return;
    if (target.mac !== undefined) {
      const fields = { endpointId: target.endpointId, address: target.address };
      this.#options.logger.info(
        { ...fields, from: target.mac.toString('hex'), to: mac.toString('hex') },
        'endpoint has another MAC',
      );
    }
    target.mac = mac;
    this.#write(target);
  }

  /** What an earlier daemon learned: better than nothing until the neighbour answers. */
  #readMac(endpointId: number): Buffer | undefined {
    const value = Buffer.alloc(endpointValueLayout.sizeBytes);
    lookupElement(this.#options.endpointMapFd, encodeId(endpointId), value);
    if (value.readUInt16LE(endpointValueLayout.hasMac) === 0) return undefined;
    return value.subarray(endpointValueLayout.destination, endpointValueLayout.destination + 6);
  }

  #write(target: Target): void {
    const { interfaceIndex } = this.#options;
    const value = encodeTarget({ mac: target.mac, ownMac: this.#ownMac, interfaceIndex });
    updateElement(this.#options.endpointMapFd, encodeId(target.endpointId), value);
  }
}

/** What the steering program goes by; without a MAC it drops, and says so. */
export function encodeTarget(target: {
  readonly mac: Buffer | undefined;
  readonly ownMac: Buffer;
  readonly interfaceIndex: number;
}): Buffer {
  const value = Buffer.alloc(endpointValueLayout.sizeBytes);
  target.mac?.copy(value, endpointValueLayout.destination);
  value.writeUInt16LE(actionL2, endpointValueLayout.action);
  target.ownMac.copy(value, endpointValueLayout.source);
  value.writeUInt16LE(target.mac === undefined ? 0 : 1, endpointValueLayout.hasMac);
  value.writeUInt32LE(target.interfaceIndex, endpointValueLayout.ifindex);
  return value;
}

/** Passes an id on; throws `usage` for one the maps have no place for. */
export function assertEndpointId(endpointId: number): number {
  if (Number.isInteger(endpointId) && endpointId >= 1 && endpointId < maxEndpoints) return endpointId;
  throw new RestitchError('usage', `endpoint id ${endpointId} is not 1 … ${maxEndpoints - 1}`);
}

function encodeId(id: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(id);
  return out;
}
