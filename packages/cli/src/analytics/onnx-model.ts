/**
 * Loads an operator's ONNX model through onnxruntime-node, an optional peer of 288 MB: it is imported only here, only when a
 * model is configured, and never a dependency of a package.
 */
import type { OwnModel } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';

/** The part of onnxruntime-node that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(file: string): Promise<OnnxSession> };
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

const PACKAGE = 'onnxruntime-node';

/**
 * Opens a model with one float32 input of shape [rows, width]. Its last output is the probability: [rows], [rows, 1], or
 * [rows, 2] with the event second. Throws `unsupported_host` without the runtime, `config_invalid` for another shape.
 */
export async function openOnnxModel(
  file: string,
  load: () => Promise<OnnxRuntime> = loadRuntime,
): Promise<OwnModel> {
  const runtime = await load();
  const session = await runtime.InferenceSession.create(file);
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

async function loadRuntime(): Promise<OnnxRuntime> {
  try {
    // A variable and not a literal: the package is not installed where the types are checked.
    const loaded: unknown = await import(PACKAGE);
    return loaded as OnnxRuntime;
  } catch (cause) {
    throw new RestitchError(
      'unsupported_host',
      `an ONNX model is configured, but ${PACKAGE} is not installed`,
      {
        cause,
      },
    );
  }
}
