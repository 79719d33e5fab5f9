// SPDX-License-Identifier: Apache-2.0
// A file that a web server can start as a CGI program: Node with the snapshot, or without when Node is
// another one. What only costs where it must: the files of the program are looked at from inside.
import { execFileSync } from 'node:child_process';
import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type StoredRecord, snapshotPaths } from './record.ts';

/** Size, time of change, inode. */
const FORMAT = '%s %Y %i';

/** Replaces the file as a whole. */
export function writeStarter(path: string, record: StoredRecord): void {
  const half = `${resolve(dirname(path))}/.${basename(path)}.${process.pid}`;
  try {
    writeFileSync(half, starterText(record));
    chmodSync(half, 0o755);
    renameSync(half, path);
  } finally {
    rmSync(half, { force: true });
  }
}

function starterText(record: StoredRecord): string {
  const node = process.execPath;
  const { blob } = snapshotPaths(record.program);
  const identity = execFileSync('stat', ['-Lc', FORMAT, node, blob], { encoding: 'utf8' }).trim();
  const options = record.nodeOptions.map((option) => `${quote(option)} `).join('');
  return `#!/bin/sh
# Starts ${record.program.replace(/[^\x20-\x7e]/g, '?')} from its snapshot. Made by "usher snapshot"; changes are lost.
node=${quote(node)} snapshot=${quote(blob)} program=${quote(record.program)}
if [ -n "$NODE_OPTIONS" ]; then
  reason='NODE_OPTIONS is set'
elif [ "$(stat -Lc '${FORMAT}' "$node" "$snapshot" 2>&1)" != ${quote(identity)} ]; then
  reason='Node or the snapshot is another one'
else
  exec "$node" ${options}--snapshot-blob "$snapshot" "$program" "$@"
fi
echo "usher: $snapshot is not used: $reason" >&2
exec "$node" ${options}"$program" "$@"
`;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
