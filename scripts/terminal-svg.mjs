/** Draws what a program printed as a terminal picture: `node scripts/terminal-svg.mjs TITLE < output.txt > docs/demo.svg`. */
import { readFileSync } from 'node:fs';

const maxColumns = 132;
const cell = { width: 7.8, height: 17 };
const title = process.argv[2] ?? '';
const lines = readFileSync(0, 'utf8')
  .replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, '')
  .replaceAll('\r', '')
  .trimEnd()
  .split('\n')
  .map((line) => line.slice(0, maxColumns));

const escapeXml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const colorOf = (line) => {
  if (/^\s*(act|ACT)\b|^[—─=]{2,}/.test(line)) return '#7cc7ff';
  if (/\b(failed|mismatch)\b/.test(line) && !/\b0 (failed|mismatch)/.test(line)) return '#ffb070';
  if (/\b0 (lost|doubled|resets)/.test(line)) return '#8fe388';
  return '#d7dde5';
};
const columns = Math.max(60, ...lines.map((line) => line.length));
const width = Math.ceil(columns * cell.width + 32);
const height = lines.length * cell.height + 56;
const rows = lines.map(
  (line, i) =>
    `<text x="16" y="${50 + i * cell.height}" fill="${colorOf(line)}" xml:space="preserve">${escapeXml(line)}</text>`,
);
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `role="img" aria-label="${escapeXml(title)}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">\n` +
    `<rect width="100%" height="100%" rx="8" fill="#12161c"/>\n` +
    `<circle cx="18" cy="17" r="5" fill="#ff5f57"/><circle cx="36" cy="17" r="5" fill="#febc2e"/><circle cx="54" cy="17" r="5" fill="#28c840"/>\n` +
    `<text x="76" y="22" fill="#8b97a6">${escapeXml(title)}</text>\n${rows.join('\n')}\n</svg>\n`,
);
