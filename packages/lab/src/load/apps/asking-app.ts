/**
 * Asks at each request whether to go on elsewhere, as the SDK's documentation has it. Requests are lines: `GET n` is answered with
 * `n here` or, if the session moved in between, `n moved`; `VERDICT n` only reads; `TO name n` wants to go to an endpoint.
 * Between requests it holds a busy token: nobody moves it but itself.
 */
import type { Session } from '@restitch/endpoint';

/** Serves one session. */
export function serveAsking(session: Session): void {
  let release = session.busy();
  const answer = (text: string): void => {
    session.state = null;
    session.write(`${text}\n`);
  };
  const ask = async (n: string, target?: string): Promise<void> => {
    if (target === undefined && !session.shouldMigrate()) {
      answer(`${n} here`);
      return;
    }
    session.state = { pending: n };
    release();
    const result = await session.migrate(target === undefined ? {} : { target });
    if (result.outcome === 'moved') return;
    release = session.busy();
    answer(`${n} here stayed ${result.reason}`);
  };
  session.on('data', (bytes: Buffer) => {
    const [command, first = '', second = ''] = bytes.toString('latin1').trim().split(' ');
    if (command === 'VERDICT')
      answer(`${first} ${session.shouldMigrate()} ${session.targetEndpoint() ?? '-'}`);
    else void ask(command === 'TO' ? second : first, command === 'TO' ? first : undefined);
  });
  session.on('end', () => session.end());
  session.on('error', () => session.destroy());
  const { pending } = (session.state ?? {}) as { readonly pending?: string };
  if (session.resumed && pending !== undefined) answer(`${pending} moved`);
}
