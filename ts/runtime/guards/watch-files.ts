// SPDX-License-Identifier: Apache-2.0
// Changes of a program's files, for development.
import { type FSWatcher, watch } from 'node:fs';
import { dirname, sep } from 'node:path';

const source = /\.(?:[cm]?[jt]sx?|json)$/;
/** An editor writes a file in several steps. */
const SETTLE_MS = 100;

/**
 * Calls `onChange` some time after the last change of a source file in the program's directory or below;
 * not for node_modules and hidden directories.
 * @param program Path of its file.
 * @returns how to end it
 */
export function watchFiles(program: string, onChange: (file: string) => void): () => void {
  let settling: NodeJS.Timeout | null = null;
  const watcher: FSWatcher = watch(dirname(program), { recursive: true }, (_event, file) => {
    if (file === null || !source.test(file) || isForeign(file)) return;
    if (settling) clearTimeout(settling);
    settling = setTimeout(() => onChange(file), SETTLE_MS);
  });
  watcher.on('error', () => undefined); // a directory that is removed while it is read
  return () => {
    watcher.close();
    if (settling) clearTimeout(settling);
  };
}

function isForeign(file: string): boolean {
  return file.split(sep).some((part) => part === 'node_modules' || part.startsWith('.'));
}
