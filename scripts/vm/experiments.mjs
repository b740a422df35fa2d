/** What `npm run vm` does in each kernel, what the report must say to pass, and how it is told; see main.mjs. */

const noLoss = ({ bytes, clientResets, stories }) =>
  bytes.received > 0 && bytes.lost + bytes.duplicated + bytes.mismatched + clientResets + stories.length === 0;
const ofBytes = ({ bytes, clientResets }) =>
  `${bytes.received} bytes checked: ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} wrong; ${clientResets} resets`;

/** Small: every process that starts costs ten seconds of a core. */
export const experiments = [
  {
    name: 'every program loads',
    args: ['check', '--json'],
    isGood: ({ checks }) => programsOf(checks).length > 0 && programsOf(checks).every((p) => p.status === 'ok'),
    tell: ({ checks }) => programsOf(checks).map(({ name, found }) => `${name.slice(8)} ${found}`).join(', '),
  },
  {
    name: 'a move',
    args: 'lab move --endpoints 2 --sessions 4 --moves 6 --warm-up-moves 0 --moves-per-sec 2 --rate 10 --json'.split(' '),
    // A cold program may need more than the 50 ms a move is given, and goes back: an outcome, as good as the other.
    isGood: (report) => noLoss(report) && report.moves.committed > 0 && report.moves.refused + report.moves.failed === 0,
    tell: ({ moves, ...report }) =>
      `${moves.committed} moves committed, ${moves.reverted} reverted, ${moves.refused + moves.failed} others; ${ofBytes(report)}`,
  },
  {
    name: 'a kill at commit',
    args: 'lab crash --level commit --endpoints 2 --sessions 3 --kills 1 --json'.split(' '),
    isGood: (report) => noLoss(report) && report.kills === 1 && report.taken > 0 && report.lost === 0,
    tell: (report) => `${report.taken} sessions taken over, ${report.lost} lost; ${ofBytes(report)}`,
  },
  {
    name: 'a drain',
    args: 'lab rolling --by drain --endpoints 3 --sessions 3 --rounds 1 --json'.split(' '),
    isGood: (report) => noLoss(report) && report.moved > 0 && report.lost + report.taken + report.replicasLeft === 0,
    tell: (report) =>
      `${report.restarts} endpoints drained and restarted, ${report.moved} sessions moved, ${report.lost} lost; ${ofBytes(report)}`,
  },
];

function programsOf(checks) {
  return checks.filter(({ name }) => name.startsWith('program '));
}
