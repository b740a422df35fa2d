/** Vanishes without a packet, as a host that loses its power, and comes back from the same port. */
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** Small, so that nothing is under way when it vanishes: its kernel would answer for it. */
const firstBytes = 500;

/** A client that comes back. */
export class Vanisher extends ClientLife {
  #isBack = false;

  protected override get expectedBytes(): number {
    return this.#isBack ? this.plan.totalBytes : firstBytes;
  }

  protected override *play(): Script {
    const { stayMs, totalBytes: bytes } = this.plan;
    yield* this.begin({ do: 'send', bytes: firstBytes, isEndLate: true });
    yield* this.readTo(firstBytes);
    yield* this.acknowledged();
    const { localPort } = this.connection;
    this.connection.vanish();
    this.enter();
    yield* this.stay(stayMs);
    this.enter(false);
    this.#isBack = true;
    this.startAnew();
    this.connection = this.connect(localPort);
    // Another client of this host may have been given the port meanwhile.
    while (this.connection.error === 'EADDRINUSE') {
      this.connection.close();
      yield;
      this.connection = this.connect(localPort);
    }
    yield* this.begin({ do: 'send', bytes });
    yield* this.readTo(bytes);
    yield* this.readEnd();
    yield* this.endOutput();
    return 'complete';
  }
}
