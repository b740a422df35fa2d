/** Progress of long commands on standard error: one line that changes on a terminal, a line now and then elsewhere. */

/** Between two lines that stay. */
const intervalMs = 5000;

/** Where lines go, and what time it is. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Makes one; `end` before anything else is written. */
export function createProgress(
  output: ProgressOutput = process.stderr,
  nowMs: () => number = () => performance.now(),
): { say(line: string): void; end(): void } {
  let lastMs = nowMs();
  return {
    say(line) {
      if (output.isTTY === true) output.write(`\r\u001b[K${line}`);
      else if (nowMs() - lastMs >= intervalMs) {
        lastMs = nowMs();
        output.write(`${line}\n`);
      }
    },
    end() {
      if (output.isTTY === true) output.write('\r\u001b[K');
    },
  };
}
