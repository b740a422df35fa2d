/** Waits for a message of a child process; its death or silence is an error, never a hang. */
import type { ChildProcess } from 'node:child_process';
import { RestitchError } from '@restitch/core';

/** The first message for which `pick` gives a value. Throws `internal` with `what` if the child ends or takes too long. */
export async function awaitMessage<T>(
  child: ChildProcess,
  limitMs: number,
  what: string,
  pick: (message: unknown) => T | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      settle();
    };
    const fail = (why: string): void =>
      finish(() => reject(new RestitchError('internal', `${what}: ${why}`)));
    const onMessage = (message: unknown): void => {
      try {
        const picked = pick(message);
        if (picked !== undefined) finish(() => resolve(picked));
      } catch (error) {
        finish(() => reject(error as Error));
      }
    };
    const onExit = (code: number | null, signal: NodeJS.Signals | null): void =>
      fail(`the process ended with ${code ?? signal}`);
    const timer = setTimeout(() => fail(`no answer within ${limitMs} ms`), limitMs);
    child.on('message', onMessage);
    child.once('exit', onExit);
    if (child.exitCode !== null || child.signalCode !== null) onExit(child.exitCode, child.signalCode);
  });
}
