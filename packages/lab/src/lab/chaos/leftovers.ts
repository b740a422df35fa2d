/** What a laboratory may have left behind, looked for by its names and not by its own books. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cgroupDirectories } from '../lab-cgroup.js';
import type { LabPlan } from '../lab-plan.js';
import { runTool } from '../run-tool.js';

/** Namespaces, pins, mounts, processes and cgroups of that laboratory that still exist, as text. */
export function findLeftovers(plan: LabPlan, endpoints: readonly string[]): string[] {
  const found: string[] = [];
  for (const line of runTool('ip', ['netns', 'list']).split('\n')) {
    if (line.startsWith(`restitch-${plan.id}-`)) found.push(`namespace ${line.trim()}`);
  }
  if (readFileSync('/proc/mounts', 'utf8').includes(` ${plan.bpfDirectory} `))
    found.push(`mount ${plan.bpfDirectory}`);
  for (const path of [plan.pinDirectory, plan.directory, plan.stateFile]) {
    if (existsSync(path)) found.push(path);
  }
  for (const name of endpoints) {
    const cgroups = cgroupDirectories(`${plan.cgroupPrefix}-${name}`);
    found.push(...cgroups.filter((path) => existsSync(path)));
  }
  return [...found, ...findProcesses(`${plan.directory}/`)];
}

/** Processes whose command line names the laboratory's directory. */
function findProcesses(mark: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      if (Number(pid) !== process.pid && command.includes(mark)) found.push(`process ${pid} ${command}`);
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}
