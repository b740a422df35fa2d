/** A capture at the client for the time of an experiment: from which endpoint each of its sessions got frames, in order. */
import type { ChildProcess } from 'node:child_process';
import { RestitchError } from '@restitch/core';
import type { SessionAnswer, SessionTakeOverAnswer } from '@restitch/wire';
import { awaitMessage } from './await-message.js';
import type { Lab } from './lab.js';
import { partyInterface } from './lab-network.js';
import { labListeners } from './lab-plan.js';
import { countFenced } from '../load/measure/sources.js';
import type { FencedCount, SourceRun } from '../load/measure/sources.js';
import { programFile } from './program-file.js';
import { runTool } from './run-tool.js';

/** What the capturing process is told, as its only argument in JSON. */
export interface SourceWatchOptions {
  readonly interfaceName: string;
  readonly etherType: number;
  /** Ports of the services. */
  readonly ports: readonly number[];
  readonly endpoints: ReadonlyArray<{ readonly name: string; readonly mac: string }>;
}

const processName = 'source-watch';
const readyMs = 20_000;

/** Who had each client's session, in order, by the client's port. */
export function ownersByPort(
  first: readonly SessionAnswer[],
  takeOvers: readonly SessionTakeOverAnswer[],
): Map<number, string[]> {
  const owners = new Map(first.map(({ flow, endpoint }) => [flow.client.port, [endpoint]]));
  for (const { flow, to } of takeOvers) if (to !== null) owners.get(flow.client.port)?.push(to);
  return owners;
}

/** One capture. */
export class SourceWatch {
  readonly #lab: Lab;
  readonly #child: ChildProcess;

  private constructor(lab: Lab, child: ChildProcess) {
    this.#lab = lab;
    this.#child = child;
  }

  /** Begins; frames of one IP version are seen. */
  static async start(lab: Lab, ipv6: boolean): Promise<SourceWatch> {
    const endpoints = lab.state.endpoints.map((name) => {
      const shown = runTool('ip', [
        '-n',
        lab.party(name).namespace,
        '-j',
        'link',
        'show',
        'dev',
        partyInterface,
      ]);
      const [link] = JSON.parse(shown) as Array<{ readonly address: string }>;
      return { name, mac: link?.address ?? '' };
    });
    const options: SourceWatchOptions = {
      interfaceName: partyInterface,
      etherType: ipv6 ? 0x86dd : 0x0800,
      // Phase clients come again and again, and some from the port they had: whose frames are whose cannot be told.
      ports: labListeners(true).flatMap(({ application, port }) => (application === 'tail' ? [] : [port])),
      endpoints,
    };
    const child = lab.start({
      name: processName,
      party: lab.plan.client,
      command: process.execPath,
      args: [programFile('lab/source-watch-main'), JSON.stringify(options)],
      hasChannel: true,
    });
    await awaitMessage(child, readyMs, `capture at the client (see ${lab.logFile(processName)})`, () => true);
    return new SourceWatch(lab, child);
  }

  /**
   * Ends it: what came from former owners. `ownersOf` tells of a client's port who had its session, in order. Throws
   * `internal` if frames were missed, for then nothing is proved.
   */
  async finish(ownersOf: (port: number) => readonly string[]): Promise<FencedCount> {
    this.#child.send({ t: 'finish' });
    const { runs, dropped } = await awaitMessage(this.#child, readyMs, 'capture at the client', (raw) => {
      const message = raw as {
        readonly t: string;
        readonly runs: Array<[number, SourceRun[]]>;
        dropped: number;
      };
      return message.t === 'runs' ? message : undefined;
    });
    if (dropped > 0)
      throw new RestitchError('internal', `the capture at the client missed ${dropped} frames`);
    if (runs.length === 0) throw new RestitchError('internal', 'the capture at the client saw nothing');
    const counts = runs.map(([port, own]) => countFenced(own, ownersOf(port)));
    return {
      frames: counts.reduce((sum, c) => sum + c.frames, 0),
      bytes: counts.reduce((sum, c) => sum + c.bytes, 0),
    };
  }

  async close(): Promise<void> {
    await this.#lab.stop(processName);
  }
}
