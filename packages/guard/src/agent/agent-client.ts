/** The application's side of the host agent: joins, and keeps the socket open for as long as it lives. */
import { connect, type Socket } from 'node:net';
import { RestitchError, isErrorCode } from '@restitch/core';
import {
  createLineReader,
  maxAgentLineBytes,
  parseToApplication,
  protocolVersion,
} from '@restitch/wire/internal';

/** What the agent gave. */
export interface AgentMembership {
  readonly lease: number;
  readonly pinDirectory: string;
  /** Called once if the agent goes away; flows go on until their lease ends. */
  onLost(listener: () => void): void;
  /** The process is about to end: the agent will call its end no death. False takes it back. */
  leaving(on: boolean): void;
  close(): void;
}

/** How long an agent may take to answer. */
const joinMs = 3000;

/** Joins the agent at `socketPath`. Rejects with `unsupported_host` if none answers, else with the reason of its refusal. */
export function joinAgent(
  socketPath: string,
  who: { name: string; instance: string },
): Promise<AgentMembership> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(socketPath);
    let isJoined = false;
    let lost: () => void = () => undefined;
    const fail = (cause: Error): void => {
      socket.destroy();
      const message = `host agent at ${socketPath}: ${cause.message}`;
      reject(
        cause instanceof RestitchError ? cause : new RestitchError('unsupported_host', message, { cause }),
      );
    };
    socket.setTimeout(joinMs, () => !isJoined && fail(new Error(`no answer in ${joinMs} ms`)));
    socket.once('connect', () =>
      socket.write(`${JSON.stringify({ t: 'join', protocol: protocolVersion, ...who })}\n`),
    );
    const read = createLineReader('agent', maxAgentLineBytes, (line) => {
      const message = parseToApplication(line);
      if (message.t === 'refused') {
        const code = isErrorCode(message.code) ? message.code : 'forbidden';
        return fail(new RestitchError(code, message.message));
      }
      isJoined = true;
      socket.unref();
      resolve({
        lease: message.lease,
        pinDirectory: message.pinDirectory,
        onLost: (listener) => {
          lost = listener;
        },
        leaving: (on) => {
          if (socket.writable) socket.write(`${JSON.stringify({ t: 'leaving', on })}\n`);
        },
        // What was written last still has to arrive: that it is leaving, for one.
        close: () => socket.destroySoon(),
      });
    });
    socket.on('data', (chunk) => {
      try {
        read(chunk);
      } catch (error) {
        fail(error as Error);
      }
    });
    socket.on('error', (error) => (isJoined ? undefined : fail(error)));
    socket.on('close', () => (isJoined ? lost() : fail(new Error('closed'))));
  });
}
