/** `restitch agent`: the host agent of an endpoint host, for systemd to run. Applications find it by its socket. */
import { RestitchError } from '@restitch/core';
import { HostAgent } from '@restitch/guard';
import { assertGroupReaches, prepareBpfDirectory } from '@restitch/sys/internal';
import type { Command } from 'commander';
import { stderrLogger } from '@restitch/console';

/** Options of `agent`. */
export interface AgentOptions {
  readonly name: string;
  readonly interface: readonly string[];
  readonly socket: string;
  readonly pins: string;
  readonly accessPoint?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly group?: string;
}

/** Mounts `agent`. */
export function registerAgentCommands(program: Command): void {
  program
    .command('agent')
    .description('guards the sessions of this endpoint host: gated acknowledgements, FIN and RST, leases')
    .requiredOption('--name <name>', 'of the endpoint, as in its certificate')
    .requiredOption('--interface <name...>', 'by which guarded flows leave')
    .option('--socket <path>', 'for applications', '/run/restitch/agent.sock')
    .option(
      '--pins <path>',
      'directory in a BPF file system; where there is none, one is mounted',
      '/sys/fs/bpf/restitch/guard',
    )
    .option('--access-point <host:port>', 'where deaths are told; without it they are only fenced')
    .option('--cert <file>', "the endpoint's certificate")
    .option('--key <file>', 'its key')
    .option('--ca <file>', 'the authority')
    .option('--group <id>', 'numeric group whose members may use socket and pins')
    .action((options: AgentOptions) => runAgent(options));
}

/** Starts the agent; it runs until a signal. Guard, leases and filters stay in the kernel when it ends. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { cert: certFile, key: keyFile, ca: caFile } = options;
  const hasTls = certFile !== undefined && keyFile !== undefined && caFile !== undefined;
  if (options.accessPoint !== undefined && !hasTls) {
    throw new RestitchError('usage', 'agent: --access-point needs --cert, --key and --ca');
  }
  const groupId = options.group === undefined ? undefined : Number(options.group);
  // Here and not in HostAgent: only a program that was started for it changes what the host has mounted.
  prepareBpfDirectory(options.pins, stderrLogger);
  if (groupId !== undefined) assertGroupReaches(options.pins, groupId);
  const agent = await HostAgent.open({
    name: options.name,
    socketPath: options.socket,
    pinDirectory: options.pins,
    interfaces: options.interface,
    logger: stderrLogger,
    ...(groupId === undefined ? {} : { groupId }),
    ...(options.accessPoint === undefined ? {} : { accessPoint: parseHostPort(options.accessPoint) }),
    ...(hasTls ? { tls: { certFile, keyFile, caFile } } : {}),
  });
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
    // The listening socket does not keep the process alive by itself.
    const stay = setInterval(() => undefined, 60_000);
    process.once('exit', () => clearInterval(stay));
  });
  await agent.close();
  process.exit(0);
}

function parseHostPort(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':');
  const port = Number(text.slice(at + 1));
  const host = text.slice(0, at).replace(/^\[|\]$/g, '');
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RestitchError('usage', `agent: --access-point ${text} is not host:port`);
  }
  return { host, port };
}
