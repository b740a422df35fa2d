/** How often what was said came true, by what was said: ten bins, decayed, for the calibration error people see. */
const BINS = 10;
/** Cases after which an old one counts 1/e. */
const MEMORY = 5000;
/** Fewest cases for an error. */
const MIN_CASES = 50;

/** Calibration of probabilities, online. */
export class ReliabilityBins {
  private readonly weight = new Float64Array(BINS);
  private readonly said = new Float64Array(BINS);
  private readonly happened = new Float64Array(BINS);

  add(said: number, label: 0 | 1): void {
    if (!(said >= 0 && said <= 1)) return;
    const keep = 1 - 1 / MEMORY;
    for (const sums of [this.weight, this.said, this.happened])
      for (let b = 0; b < BINS; b++) sums[b] = sums[b]! * keep;
    const bin = Math.min(BINS - 1, Math.floor(said * BINS));
    this.weight[bin] = this.weight[bin]! + 1;
    this.said[bin] = this.said[bin]! + said;
    this.happened[bin] = this.happened[bin]! + label;
  }

  /** Expected calibration error; null before enough cases. */
  error(): number | null {
    const total = this.weight.reduce((a, b) => a + b, 0);
    if (total < MIN_CASES) return null;
    let sum = 0;
    for (let b = 0; b < BINS; b++) sum += Math.abs(this.said[b]! - this.happened[b]!);
    return sum / total;
  }

  /** Bins with cases: mean of what was said, share that happened, cases. */
  rows(): { said: number; happened: number; cases: number }[] {
    return [...this.weight.keys()]
      .filter((b) => this.weight[b]! > 0.5)
      .map((b) => ({
        said: this.said[b]! / this.weight[b]!,
        happened: this.happened[b]! / this.weight[b]!,
        cases: this.weight[b]!,
      }));
  }
}
