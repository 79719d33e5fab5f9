// SPDX-License-Identifier: Apache-2.0
// Why no snapshot could be made, out of what Node and V8 have printed.
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import type { NodeEnded } from './run-node.ts';

const MOST_LINES = 30;

/** What Node says whatever the program does. */
const noise = [
  /Warning: It's not yet fully verified whether built-in module/,
  /^It may still work in some cases, but in other cases certain run-time/,
  /^To request support for the module, use the Node\.js issue tracker/,
  /^\(Use `node --trace-warnings/,
  /^Deleting Error\.stackTraceLimit from the snapshot/,
  /^\s+at .*\(node:internal\//,
  /^\s+at node:internal\//,
  /^\s+at .*\/snapshot\/(stand-in|prelude)\.[jt]s:/,
];

const native = [
  'The program holds an object at the end of its initialisation that V8 cannot put into a snapshot.',
  'Such are: Intl.NumberFormat, DateTimeFormat, Collator and other objects of Intl, compiled vm.Script,',
  'MessageChannel, Blob, streams of zlib, Hash, Hmac, Cipher and keys of crypto, open sockets and pipes.',
  'Make them when they are used for the first time.',
].join('\n');

/** @param sourceMap Of the bundle; its sources are relative to the program's directory */
export function explainFailure(program: string, sourceMap: string, ended: NodeEnded): string {
  if (ended.isLate) {
    return `${program}: its initialisation has taken too long, without once coming to an end of its event loop: see --timeout`;
  }
  const text = withPlaces(ended.err, dirname(program), sourceMap);
  const lines = text.split('\n').filter((line) => !noise.some((known) => known.test(line)));
  if (ended.status === null || /^global handle not serialized|# Fatal error/m.test(ended.err)) {
    const kind =
      /: <(\w+) map = /.exec(ended.err)?.[1] ?? /\[(Foreign|api object)\b/.exec(text)?.[1];
    const ending = ended.signal ?? `status ${ended.status}`;
    return `${program}: V8 could not make a snapshot (${ending}${kind ? `, at an object of kind ${kind}` : ''})\n${native}`;
  }
  const said = lines.join('\n').trim().split('\n').slice(0, MOST_LINES).join('\n');
  return `${program}: no snapshot: ${said || `Node has ended with status ${ended.status}`}`;
}

/** ".../bundle.cjs:LINE:COLUMN" become places of the program's files. */
function withPlaces(text: string, directory: string, sourceMap: string): string {
  if (sourceMap === '') return text;
  const map = new SourceMap(JSON.parse(sourceMap) as SourceMapPayload);
  return text.replace(/[^\s()]*\/bundle\.cjs:(\d+)(?::(\d+))?/g, (place, line, column) => {
    const entry = map.findEntry(Number(line) - 1, Number(column ?? 1) - 1);
    if (!('originalSource' in entry)) return place;
    const path = relative(process.cwd(), resolve(directory, entry.originalSource));
    return `${path}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
