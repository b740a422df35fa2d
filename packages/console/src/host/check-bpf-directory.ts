/** Where a role's pins are to be: usable, to be mounted by whoever starts first, or out of reach. */
import type { CheckResult, HostRole } from './check-host.js';
import type { HostFacts } from './host-facts.js';

/** Where pins are unless a configuration or an option says otherwise. */
export const defaultPinDirectories: Readonly<Record<HostRole, string>> = {
  'access-point': '/sys/fs/bpf/restitch',
  endpoint: '/sys/fs/bpf/restitch/guard',
  lab: '/sys/fs/bpf',
};

/** The line about pins in `path`, as this user finds it; empty where the kernel cannot be asked, which is said elsewhere. */
export async function checkBpfDirectory(
  path: string,
  role: HostRole,
  facts: HostFacts,
): Promise<CheckResult[]> {
  const state = await facts.bpfDirectory(path).catch(() => undefined);
  if (state === undefined) return [];
  const line = { group: 'features', name: `pins in ${path}`, remedy: '' };
  if (state.t === 'fit') return [{ ...line, status: 'ok', found: 'possible' }];
  const why = state.t === 'unfit' ? state.why : `no BPF file system is mounted at ${state.mountPoint}`;
  if (role === 'lab') return [{ ...line, status: 'ok', found: `${why}; each laboratory mounts its own` }];
  if (state.t === 'mountable') {
    const remedy = `nothing to do for root, who mounts it at the start; for others: mount -t bpf bpf ${state.mountPoint}`;
    return [{ ...line, status: 'absent', found: why, remedy }];
  }
  // An endpoint has pins only where its host has an agent, for levels above none.
  const status = role === 'endpoint' ? 'absent' : 'missing';
  return [{ ...line, status, found: why, remedy: state.remedy }];
}
