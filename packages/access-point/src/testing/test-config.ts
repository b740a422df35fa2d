/** A checked configuration with short deadlines, for tests. */
import { parseConfig } from '../config/index.js';
import type { DaemonConfig } from '../config/index.js';

/** `more` is YAML that is put at the end. */
export function testConfig(stateDirectory: string, more = ''): DaemonConfig {
  return parseConfig(`
name: ap
cluster: test
interface: eth0
stateDirectory: ${stateDirectory}
adminSocket: ${stateDirectory}/admin.sock
control:
  listen: 127.0.0.1:7100
  tls: {cert: /c, key: /k, ca: /a}
listeners:
  - {name: main, vip: "10.0.0.100:7000"}
lab: true
${more}`);
}
