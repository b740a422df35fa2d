/**
 * libbpf.so.1 (part of iproute2): loads a compiled BPF object with its relocations and attaches programs at tc.
 * Its printing is silenced; a refusal by the verifier is in the error, last telling line as message, whole log on demand.
 */
import { RestitchError } from '@restitch/core';
import { Fd, duplicateFd } from '../fd.js';
import { addressOf, errno, errnoName, lastErrno, openLibrary, readCString } from '../libc.js';
import type { NativeFunction, NativePointerFunction } from '../libc.js';

/** Size of the verifier's log; a refusal's last lines are what counts. */
const logBytes = 1 << 20;

/** A signal in the middle makes the verifier give up with EAGAIN (a profiler's, for one); libbpf's own 5 tries are short. */
const loadTries = 20;

interface Libbpf {
  readonly openFile: NativePointerFunction;
  readonly load: NativeFunction;
  readonly close: NativeFunction;
  readonly findMap: NativePointerFunction;
  readonly mapFd: NativeFunction;
  readonly reuseMap: NativeFunction;
  readonly setMaxEntries: NativeFunction;
  readonly findProgram: NativePointerFunction;
  readonly nextProgram: NativePointerFunction;
  readonly programName: NativePointerFunction;
  readonly setAutoload: NativeFunction;
  readonly programFd: NativeFunction;
  readonly hookCreate: NativeFunction;
  readonly attach: NativeFunction;
  readonly detach: NativeFunction;
}

let opened: Libbpf | undefined;

/** Opened when first needed: a process that never loads BPF (an endpoint) does without the library. */
function libbpf(): Libbpf {
  if (opened !== undefined) return opened;
  const lib = openLibrary('libbpf.so.1');
  lib.declarePointer('void *libbpf_set_print(intptr_t fn)')(0);
  opened = {
    openFile: lib.declarePointer('intptr_t bpf_object__open_file(const char *path, void *opts)'),
    load: lib.declare('int bpf_object__load(intptr_t object)'),
    close: lib.declare('void bpf_object__close(intptr_t object)'),
    findMap: lib.declarePointer('intptr_t bpf_object__find_map_by_name(intptr_t object, const char *name)'),
    mapFd: lib.declare('int bpf_map__fd(intptr_t map)'),
    reuseMap: lib.declare('int bpf_map__reuse_fd(intptr_t map, int fd)'),
    setMaxEntries: lib.declare('int bpf_map__set_max_entries(intptr_t map, uint32_t entries)'),
    findProgram: lib.declarePointer(
      'intptr_t bpf_object__find_program_by_name(intptr_t object, const char *name)',
    ),
    nextProgram: lib.declarePointer('intptr_t bpf_object__next_program(intptr_t object, intptr_t program)'),
    programName: lib.declarePointer('intptr_t bpf_program__name(intptr_t program)'),
    setAutoload: lib.declare('int bpf_program__set_autoload(intptr_t program, int autoload)'),
    programFd: lib.declare('int bpf_program__fd(intptr_t program)'),
    hookCreate: lib.declare('int bpf_tc_hook_create(void *hook)'),
    attach: lib.declare('int bpf_tc_attach(void *hook, void *opts)'),
    detach: lib.declare('int bpf_tc_detach(void *hook, void *opts)'),
  };
  return opened;
}

/** What to load: an object file, and per map another size or an existing map to use instead. */
export interface BpfObjectSpec {
  readonly path: string;
  readonly maps: readonly string[];
  /** Those that are loaded; the object may hold more. */
  readonly programs: readonly string[];
  readonly maxEntries?: Readonly<Record<string, number>>;
  readonly reuse?: Readonly<Record<string, number>>;
}

/** Loaded programs and maps; whoever holds it closes it. */
export interface BpfObject {
  readonly maps: Readonly<Record<string, Fd>>;
  readonly programs: Readonly<Record<string, Fd>>;
  close(): void;
}

/** Loads a BPF object. Throws `bpf_rejected` with the verifier's last line, `unsupported_host` without libbpf. */
export function loadBpfObject(spec: BpfObjectSpec): BpfObject {
  const lib = libbpf();
  const log = Buffer.alloc(logBytes);
  for (let tries = 1; ; tries++) {
    const object = openObject(lib, spec.path, log);
    try {
      prepareMaps(lib, object, spec);
      leaveOut(lib, object, spec.programs);
      const error = -lib.load(object);
      if (error <= 0) return takeObject(lib, object, spec);
      if (error !== errno.EAGAIN || tries === loadTries) throw rejection(spec.path, error, log);
    } finally {
      lib.close(object);
    }
  }
}

function takeObject(lib: Libbpf, object: bigint, spec: BpfObjectSpec): BpfObject {
  const maps = collect(spec.maps, (name) => lib.mapFd(findMap(lib, object, name)));
  const programs = collect(spec.programs, (name) =>
    lib.programFd(found(lib.findProgram(object, name), name)),
  );
  const all = [...Object.values(maps), ...Object.values(programs)];
  return { maps, programs, close: () => all.forEach((fd) => fd.close()) };
}

/** The kernel refused a program; `log` is the verifier's whole log, kept out of what is printed by default. */
export class BpfLoadError extends RestitchError {
  override readonly name = 'BpfLoadError';
  readonly errno: number;
  /** The error's name and the last line of the log that says something. */
  readonly reason: string;
  readonly #log: string;

  constructor(path: string, error: number, log: string) {
    const lines = log.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('processed '));
    const reason = `${errnoName(error)}: ${lines.at(-1) ?? 'no log'}`;
    super('bpf_rejected', `load ${path}: ${reason}`, { details: { path } });
    this.errno = error;
    this.reason = reason;
    this.#log = log;
  }

  get log(): string {
    return this.#log;
  }
}

/** Where at tc: clsact's ingress or egress of an interface in the current network namespace. */
export interface TcHook {
  readonly interfaceIndex: number;
  readonly direction: 'ingress' | 'egress';
}

/** Which filter there; the same numbers replace it. */
export interface TcFilter {
  readonly handle: number;
  readonly priority: number;
}

const attachReplace = 1;

/**
 * Attaches a program (direct action), making clsact if need be. A filter with the same numbers is replaced in one
 * step: every packet meets either the old program or the new one.
 */
export function attachTc(hook: TcHook, filter: TcFilter, programFd: number): void {
  const lib = libbpf();
  const hookStruct = encodeHook(hook);
  const made = lib.hookCreate(hookStruct);
  if (made < 0 && made !== -17) throw tcError('create clsact', hook, -made);
  const result = lib.attach(hookStruct, encodeFilter(filter, programFd, attachReplace));
  if (result < 0) throw tcError('attach', hook, -result);
}

/** Detaches the filter; false if it was not there. clsact itself stays: others may use it. */
export function detachTc(hook: TcHook, filter: TcFilter): boolean {
  const result = libbpf().detach(encodeHook(hook), encodeFilter(filter, 0, 0));
  if (result < 0 && result !== -2 && result !== -22 && result !== -19) throw tcError('detach', hook, -result);
  return result === 0;
}

/** struct bpf_tc_hook: size 8, ifindex 4, attach point 4, parent 4. */
function encodeHook(hook: TcHook): Buffer {
  const out = Buffer.alloc(24);
  out.writeBigUInt64LE(24n, 0);
  out.writeInt32LE(hook.interfaceIndex, 8);
  out.writeUInt32LE(hook.direction === 'ingress' ? 1 : 2, 12);
  return out;
}

/** struct bpf_tc_opts: size 8, prog_fd 4, flags 4, prog_id 4, handle 4, priority 4. */
function encodeFilter(filter: TcFilter, programFd: number, flags: number): Buffer {
  const out = Buffer.alloc(32);
  out.writeBigUInt64LE(32n, 0);
  out.writeInt32LE(programFd, 8);
  out.writeUInt32LE(flags, 12);
  out.writeUInt32LE(filter.handle, 20);
  out.writeUInt32LE(filter.priority, 24);
  return out;
}

function tcError(what: string, hook: TcHook, error: number): RestitchError {
  const name = errnoName(error);
  return new RestitchError(
    'bpf_rejected',
    `tc ${hook.direction} of interface ${hook.interfaceIndex}: ${what}: ${name}`,
    {
      details: { errno: error, interfaceIndex: hook.interfaceIndex },
    },
  );
}

/** struct bpf_object_open_opts of libbpf 1.x: kernel_log_buf at 56, its size at 64, level at 72. */
function openObject(lib: Libbpf, path: string, log: Buffer): bigint {
  const opts = Buffer.alloc(80);
  opts.writeBigUInt64LE(80n, 0);
  opts.writeBigUInt64LE(addressOf(log), 56);
  opts.writeBigUInt64LE(BigInt(log.length), 64);
  const object = lib.openFile(path, opts);
  if (isNull(object)) {
    throw new RestitchError('bpf_rejected', `open ${path}: ${errnoName(lastErrno())}; was the build run?`, {
      details: { path },
    });
  }
  return BigInt(object ?? 0);
}

function prepareMaps(lib: Libbpf, object: bigint, spec: BpfObjectSpec): void {
  for (const [name, entries] of Object.entries(spec.maxEntries ?? {})) {
    const result = lib.setMaxEntries(findMap(lib, object, name), entries);
    if (result < 0) throw new RestitchError('bpf_rejected', `map ${name}: ${entries} entries refused`);
  }
  for (const [name, fd] of Object.entries(spec.reuse ?? {})) {
    const result = lib.reuseMap(findMap(lib, object, name), fd);
    if (result < 0) {
      throw new RestitchError(
        'bpf_rejected',
        `map ${name}: the existing one does not fit: ${errnoName(-result)}`,
      );
    }
  }
}

/** Programs that nobody asked for are not loaded: one that is refused must not take the others with it. */
function leaveOut(lib: Libbpf, object: bigint, wanted: readonly string[]): void {
  for (let at = lib.nextProgram(object, 0n); !isNull(at); at = lib.nextProgram(object, at)) {
    const name = readCString(BigInt(lib.programName(at) ?? 0));
    if (!wanted.includes(name)) lib.setAutoload(at, 0);
  }
}

function findMap(lib: Libbpf, object: bigint, name: string): bigint {
  return found(lib.findMap(object, name), name);
}

function found(pointer: bigint | null, name: string): bigint {
  if (isNull(pointer)) throw new RestitchError('internal', `BPF object has no ${name}`);
  return BigInt(pointer ?? 0);
}

function isNull(pointer: bigint | null): boolean {
  return pointer === null || BigInt(pointer) === 0n;
}

/** libbpf closes its descriptors with the object: ours are duplicates. */
function collect(names: readonly string[], fdOf: (name: string) => number): Record<string, Fd> {
  return Object.fromEntries(names.map((name) => [name, new Fd(duplicateFd(fdOf(name)))]));
}

function rejection(path: string, error: number, log: Buffer): BpfLoadError {
  return new BpfLoadError(path, error, log.toString('latin1', 0, log.indexOf(0)));
}
