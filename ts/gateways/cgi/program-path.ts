// SPDX-License-Identifier: Apache-2.0
// Which file a request names: servers say /cgi-bin/a.cgi/x/y, of which /x/y is the program's PATH_INFO.
import { statSync } from 'node:fs';

export interface NamedProgram {
  /** Absolute; Latin-1, a character is a byte. */
  file: string;
  /** What is behind it: "" or "/…". */
  pathInfo: string;
}

type Kind = 'file' | 'directory' | 'nothing' | 'below a file';

/** @param path Latin-1 */
function kindOf(path: string): Kind {
  try {
    const status = statSync(Buffer.from(path, 'latin1'), { throwIfNoEntry: false });
    if (status === undefined) return 'nothing';
    return status.isDirectory() ? 'directory' : 'file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // What may not be seen is left to whoever starts it, who says why.
    return code === 'ENOTDIR' ? 'below a file' : 'nothing';
  }
}

/** The longest beginning of the path that is a file; without one, all of the path. */
export function findProgram(path: string): NamedProgram {
  const whole = { file: path, pathInfo: '' };
  if (path.includes('\0') || !path.startsWith('/')) return whole;
  let kind = kindOf(path);
  let end = path.length;
  while (kind === 'below a file') {
    end = path.lastIndexOf('/', end - 1);
    if (end <= 0) return whole;
    kind = kindOf(path.slice(0, end));
  }
  return kind === 'file' ? { file: path.slice(0, end), pathInfo: path.slice(end) } : whole;
}
