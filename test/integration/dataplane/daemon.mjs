/** A process that owns the data plane, to be killed: opens it with the options of its arguments and waits. */
import { openDataplane } from '@restitch/dataplane';

const dataplane = openDataplane(JSON.parse(process.argv[2]));
process.send({ isAdopted: dataplane.isAdopted });
process.on('message', ({ call, args }) => {
  process.send({ value: JSON.parse(JSON.stringify(dataplane[call](...args) ?? null, stringify)) });
});
function stringify(_, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}
