// A host agent of the tests: guards what runs in its namespace, and tells nobody of a death.
import { HostAgent } from '@restitch/guard';

await HostAgent.open(JSON.parse(process.argv[2]));
process.send({ ready: true });
process.on('disconnect', () => process.exit());
