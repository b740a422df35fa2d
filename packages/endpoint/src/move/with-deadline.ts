/** A bounded wait. */
import { type Clock, RestitchError } from '@restitch/core';

/** The promise's value, or `deadline_exceeded` after `waitMs`. The promise itself goes on. */
export async function withDeadline<T>(
  promise: Promise<T>,
  waitMs: number,
  clock: Clock,
  what: string,
): Promise<T> {
  let cancel: () => void = () => undefined;
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(waitMs, () =>
      reject(new RestitchError('deadline_exceeded', `${what}: not done within ${Math.round(waitMs)} ms`)),
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
