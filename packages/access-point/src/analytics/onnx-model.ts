/**
 * Opens an operator's ONNX model by an optional peer: onnxruntime-web (WebAssembly, no install script, 139 MB) or, where that is
 * not installed, onnxruntime-node. It is imported only here and only when a model is configured.
 */
import type { OwnModel } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';

/** The part of both packages that is used. */
export interface OnnxRuntime {
  readonly env?: { readonly wasm: { numThreads?: number } };
  readonly InferenceSession: { create(model: Uint8Array): Promise<OnnxSession> };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => unknown;
}

interface OnnxSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, OnnxTensor>>>;
}

interface OnnxTensor {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

const packages = ['onnxruntime-web', 'onnxruntime-node'] as const;

/**
 * Opens a model, `bytes` of `file`, with one float32 input of shape [rows, width]. Its last output is the probability: [rows], [rows, 1], or
 * [rows, 2] with the event second. Throws `unsupported_host` without the runtime, `config_invalid` for what is no
 * model or has another shape.
 */
export async function openOnnxModel(
  file: string,
  bytes: Uint8Array,
  load: () => Promise<OnnxRuntime> = loadRuntime,
): Promise<OwnModel> {
  const runtime = await load();
  // Rows of a fleet are few: threads would cost more than they bring.
  if (runtime.env !== undefined) runtime.env.wasm.numThreads = 1;
  const session = await createSession(runtime, file, bytes);
  const input = session.inputNames[0];
  const output = session.outputNames[session.outputNames.length - 1];
  if (session.inputNames.length !== 1 || input === undefined || output === undefined) {
    throw new RestitchError(
      'config_invalid',
      `open model ${file}: want one input, it has ${session.inputNames.join(', ')}`,
    );
  }
  return {
    async score(rows, count, width) {
      const results = await session.run({ [input]: new runtime.Tensor('float32', rows, [count, width]) });
      const { data, dims } = results[output]!;
      const columns = dims.length < 2 ? 1 : dims[dims.length - 1]!;
      if (columns > 2 || data.length !== count * columns) {
        throw new RestitchError(
          'config_invalid',
          `model ${file}: output ${output} has shape [${dims.join(', ')}]`,
        );
      }
      return Float64Array.from({ length: count }, (_, i) => Number(data[i * columns + columns - 1]));
    },
  };
}

async function createSession(runtime: OnnxRuntime, file: string, bytes: Uint8Array): Promise<OnnxSession> {
  try {
    return await runtime.InferenceSession.create(bytes);
  } catch (cause) {
    throw new RestitchError('config_invalid', `open model ${file}: ${(cause as Error).message}`, { cause });
  }
}

async function loadRuntime(): Promise<OnnxRuntime> {
  let cause: unknown;
  for (const name of packages) {
    try {
      // A variable and not a literal: neither package is installed where the daemon is built.
      return (await import(name)) as OnnxRuntime;
    } catch (error) {
      cause = error;
    }
  }
  throw new RestitchError(
    'unsupported_host',
    `an ONNX model is configured, but neither ${packages.join(' nor ')} is installed`,
    { cause },
  );
}
