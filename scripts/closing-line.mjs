/** Vitest reporter: ends the run with `N passed, N failed`, the line that CI reads. */
export default class ClosingLine {
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      let own = 0;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state in count) count[state]++;
        own++;
      }
      // A file that does not load has no tests, and still has failed.
      if (own === 0 && module.state() === 'failed') count.failed++;
    }
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : '';
    process.on('exit', () => console.log(`${count.passed} passed, ${count.failed} failed${skipped}`));
  }
}
