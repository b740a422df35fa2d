/**
 * A small ONNX file written by hand, for tests: a logistic regression with missing features taken for 0
 * (IsNaN, Where, Gemm, Sigmoid). Field numbers are those of onnx.proto3; one float32 input `x` [n, width], output `p` [n, 1].
 */

type Bytes = number[];

/** Bytes of the model p = sigmoid(weights · x + bias). */
export function writeLogisticOnnx(weights: readonly number[], bias: number): Uint8Array {
  const width = weights.length;
  const graph = [
    ...part(1, node(['x'], 'm', 'IsNaN')),
    ...part(1, node(['m', 'zero', 'x'], 'c', 'Where')),
    ...part(1, node(['c', 'w', 'b'], 'z', 'Gemm')),
    ...part(1, node(['z'], 'p', 'Sigmoid')),
    ...text(2, 'logistic'),
    ...part(5, tensor('zero', [1], [0])),
    ...part(5, tensor('w', [width, 1], weights)),
    ...part(5, tensor('b', [1], [bias])),
    ...part(11, value('x', ['n', width])),
    ...part(12, value('p', ['n', 1])),
  ];
  const irVersion = number(1, 8);
  const opset = part(8, number(2, 13));
  return Uint8Array.from([...irVersion, ...part(7, graph), ...opset]);
}

function varint(n: number): Bytes {
  return n > 127 ? [(n & 127) | 128, ...varint(n >>> 7)] : [n];
}

function number(field: number, n: number): Bytes {
  return [...varint(field * 8), ...varint(n)];
}

function part(field: number, body: Bytes): Bytes {
  return [...varint(field * 8 + 2), ...varint(body.length), ...body];
}

function text(field: number, value: string): Bytes {
  return part(field, [...Buffer.from(value)]);
}

function node(inputs: readonly string[], output: string, operator: string): Bytes {
  return [...inputs.flatMap((name) => text(1, name)), ...text(2, output), ...text(4, operator)];
}

function tensor(name: string, dims: readonly number[], values: readonly number[]): Bytes {
  const raw = Buffer.from(Float32Array.from(values).buffer);
  return [...dims.flatMap((d) => number(1, d)), ...number(2, 1), ...text(8, name), ...part(9, [...raw])];
}

function value(name: string, dims: readonly (string | number)[]): Bytes {
  const shape = dims.flatMap((d) => part(1, typeof d === 'string' ? text(2, d) : number(1, d)));
  return [...text(1, name), ...part(2, part(1, [...number(1, 1), ...part(2, shape)]))];
}
