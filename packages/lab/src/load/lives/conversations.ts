/** Clients that talk, each with an option or a habit that has broken proxies: urgent bytes, keepalive, a user timeout. */
import { solSocket, solTcp, so, tcp } from '@restitch/sys/internal';
import { EchoLife } from './echo-life.js';

const betweenRecordsMs = 50;
const betweenUrgentMs = 700;
/** Long enough for any take-over, short enough that a standstill breaks the connection within the run. */
const userTimeoutMs = 8000;
/** Seconds: idle, between probes, and the number of probes. */
const keepalive = { idle: 1, interval: 1, count: 6 } as const;
const idleMs = 2000;

/** Sends an urgent byte now and then. It counts in the sequence numbers, and is no part of the stream that is echoed. */
export class UrgentSender extends EchoLife {
  protected override *converse(): Generator<void> {
    // Only while nothing is under way: a second urgent byte before the first was passed by is another story of TCP's.
    this.connection.writeUrgent(0x21);
    this.enter();
    for (let forMs = 0; forMs < betweenUrgentMs; forMs += betweenRecordsMs) {
      yield* this.exchange();
      yield* this.stay(betweenRecordsMs);
    }
  }
}

/** Says nothing for seconds and has its kernel ask whether the server is there. */
export class KeepaliveClient extends EchoLife {
  protected override prepare(): void {
    this.connection.setOption(solSocket, so.keepalive, 1);
    this.connection.setOption(solTcp, tcp.keepidle, keepalive.idle);
    this.connection.setOption(solTcp, tcp.keepintvl, keepalive.interval);
    this.connection.setOption(solTcp, tcp.keepcnt, keepalive.count);
  }

  protected override *converse(): Generator<void> {
    this.enter();
    yield* this.stay(idleMs);
    yield* this.exchange();
  }
}

/** Talks all the time, and its kernel gives the connection up if it is not acknowledged in time. */
export class UserTimeoutClient extends EchoLife {
  protected override prepare(): void {
    this.connection.setOption(solTcp, tcp.userTimeout, userTimeoutMs);
  }

  protected override *converse(): Generator<void> {
    this.enter();
    yield* this.exchange();
    yield* this.stay(betweenRecordsMs);
  }
}
