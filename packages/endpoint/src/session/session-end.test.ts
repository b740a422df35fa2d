import { closeSync, fstatSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Carrier } from './carrier.js';
import { SessionEnd } from './session-end.js';
import type { ClosingParty } from './session-init.js';

const flow = {
  client: { address: '127.0.0.1', port: 1 },
  vip: { address: '127.0.0.1', port: 2 },
};

interface Circumstances {
  carrier?: Carrier | undefined;
  isInputDone?: boolean;
  party?: ClosingParty;
}

function newEnd(at: Circumstances = {}): { end: SessionEnd; told: string[] } {
  const told: string[] = [];
  const end = new SessionEnd({
    flow,
    carrier: () => at.carrier,
    isInputDone: () => at.isInputDone ?? false,
    party: () => at.party,
    onClosing: () => told.push('closing'),
    onClosed: (reason) => told.push(reason),
  });
  end.whenOver(() => told.push('over'));
  return { end, told };
}

function newParty(told: string[], isSettled: boolean): ClosingParty {
  return {
    finisher: 'kernel',
    isSettled,
    through: () => undefined,
    looked: () => undefined,
    allowReset: () => told.push('reset allowed'),
  };
}

const carrierWith = (hasUnread: boolean): Carrier => ({ hasUnread, endsByReset: false }) as Carrier;

describe('SessionEnd', () => {
  it('tells its end once, those who wait before the server', () => {
    const { end, told } = newEnd();
    end.because('ECONNRESET');
    end.settle();
    end.now();
    expect(told).toEqual(['over', 'ECONNRESET']);
    let isTold = false;
    end.whenOver(() => (isTold = true));
    expect(isTold).toBe(true);
  });

  it('tells the server nothing of what is served elsewhere', () => {
    const { end, told } = newEnd();
    end.over();
    end.now();
    expect(told).toEqual(['over']);
    expect(end.phase).toBe('closed');
  });

  it.each([
    { isInputDone: true, hasUnread: true, kind: 'ended', endsByReset: false },
    { isInputDone: false, hasUnread: false, kind: 'destroyed', endsByReset: false },
    { isInputDone: false, hasUnread: true, kind: 'reset', endsByReset: true },
  ])('is $kind with input done: $isInputDone, and unread: $hasUnread', (row) => {
    const { end } = newEnd(row);
    const carrier = carrierWith(row.hasUnread);
    end.decide(carrier);
    expect(end.kind).toBe(row.kind);
    expect(carrier.endsByReset).toBe(row.endsByReset);
    // It stays what it was at first.
    end.decide(carrierWith(!row.hasUnread));
    expect(end.kind).toBe(row.kind);
  });

  it('is no end while the FIN of its client waits for a commit', () => {
    const told: string[] = [];
    const { end, told: own } = newEnd({ party: newParty(told, false) });
    end.carrierClosed();
    expect(end.phase).toBe('closing');
    expect(end.isWithoutNode).toBe(true);
    expect(own).toEqual(['closing']);
    end.endKept('closed');
    expect(own).toEqual(['closing', 'over', 'closed']);
  });

  it('closes what it kept when that is over, and not before Node is', () => {
    const fd = openSync('/dev/null', 'r');
    const at: Circumstances = { carrier: carrierWith(false), isInputDone: true };
    const { end, told } = newEnd(at);
    end.leaveNode(fd);
    end.endKept('closed');
    expect(end.keptFd).toBe(fd);
    at.carrier = undefined;
    end.carrierClosed();
    expect(end.phase).toBe('closing');
    end.endKept('closed');
    expect(() => fstatSync(fd)).toThrow('EBADF');
    expect(told).toEqual(['closing', 'over', 'closed']);
  });

  it('gives what it kept to a freeze, and is told of as closing once after the revert too', () => {
    const fd = openSync('/dev/null', 'r');
    const { end, told } = newEnd();
    end.leaveNode(fd);
    expect(end.freeze()).toBe(fd);
    expect([end.phase, end.keptFd]).toEqual(['frozen', -1]);
    end.keep(fd);
    end.begin();
    expect([end.phase, end.keptFd]).toEqual(['closing', fd]);
    expect(told).toEqual(['closing']);
    closeSync(fd);
  });

  it('says that a reset may leave before it leaves, and is over whatever the kernel says', () => {
    const allowed: string[] = [];
    const { end, told } = newEnd({ party: newParty(allowed, true) });
    end.reset('too early');
    expect(allowed).toEqual([]);
    const fd = openSync('/dev/null', 'r');
    end.leaveNode(fd);
    expect(() => end.reset('closing_timeout')).toThrow();
    expect(allowed).toEqual(['reset allowed']);
    expect(told).toEqual(['closing', 'over', 'closing_timeout']);
  });
});
