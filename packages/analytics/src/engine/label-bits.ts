/** Labels as bits of a mask: 31 pairs of key and value are told apart, and the last bit stands for "some other". */
const LAST_BIT = 31;

/** Numbers for labels and failure domains, in the order in which they come. */
export class LabelBits {
  private readonly bits = new Map<string, number>();
  private readonly domains = new Map<string, number>();

  /** A bit for each label. Labels of one object are taken by name, so that the same object gives the same bits. */
  mask(labels: Readonly<Record<string, string>>): number {
    let mask = 0;
    for (const key of Object.keys(labels).sort()) {
      const text = `${key}=${labels[key]!}`;
      const known = this.bits.get(text) ?? Math.min(LAST_BIT, this.bits.size);
      this.bits.set(text, known);
      mask |= 1 << known;
    }
    return mask >>> 0;
  }

  domain(name: string): number {
    const known = this.domains.get(name) ?? this.domains.size;
    this.domains.set(name, known);
    return known;
  }
}
