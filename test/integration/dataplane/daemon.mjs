/** A process that owns the data plane, to be killed: opens it with the options of its arguments and waits. */
import { openDataplane } from '@restitch/dataplane';

const dataplane = openDataplane(JSON.parse(process.argv[2]));
process.send({ isAdopted: dataplane.isAdopted });
const calls = {
  /** Messages carry no bigint. */
  applyHold: (flow, deadlineNs) =>
    dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs: BigInt(deadlineNs) }]),
};
process.on('message', ({ call, args }) => {
  const value = (calls[call] ?? dataplane[call].bind(dataplane))(...args) ?? null;
  process.send({ value: JSON.parse(JSON.stringify(value, stringify)) });
});
function stringify(_, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}
