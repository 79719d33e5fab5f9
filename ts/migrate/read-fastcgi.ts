// SPDX-License-Identifier: Apache-2.0
// mod_fastcgi: its directives have the names and options of ours, or are their ancestors.
import { resolve } from 'node:path';
import type { ApacheReading, Scope } from './apache-reading.ts';
import type { ApacheDirective } from './apache-syntax.ts';
import type { Option, ProgramClass } from './model.ts';

/** As options.md spells them; the lower case is how they are found. */
const withValue = [
  ...[
    'processes',
    'maxProcesses',
    'minProcesses',
    'maxClassProcesses',
    'killInterval',
    'updateInterval',
  ],
  ...[
    'gainValue',
    'singleThreshold',
    'multiThreshold',
    'processSlack',
    'startDelay',
    'init-start-delay',
  ],
  ...['restart-delay', 'min-server-life', 'listen-queue-depth', 'appConnTimeout', 'idle-timeout'],
  ...['initial-env', 'pass-header', 'priority', 'port', 'socket', 'host', 'user', 'group'],
];
const alone = ['restart', 'autoUpdate', 'flush', 'nph'];
const spelled = new Map(
  [...withValue, ...alone].map((name) => [name.toLowerCase(), name] as const),
);
const notForExternal = new Set(['user', 'group']);
const kinds: Record<string, ProgramClass['kind'] | 'dynamic'> = {
  fastcgiserver: 'static',
  appclass: 'static',
  fastcgiexternalserver: 'external',
  externalappclass: 'external',
  fastcgiconfig: 'dynamic',
  fcgiconfig: 'dynamic',
};

export function isFastcgi(name: string): boolean {
  const lower = name.toLowerCase();
  return kinds[lower] !== undefined || lower.startsWith('fastcgi');
}

export function readFastcgi(reading: ApacheReading, node: ApacheDirective, scope: Scope): void {
  const name = node.name.toLowerCase();
  const kind = kinds[name];
  if (kind === 'dynamic') readDynamic(reading, node);
  else if (kind !== undefined) readClass(reading, node, kind);
  else readOther(reading, node, name, scope);
}

function readOther(
  reading: ApacheReading,
  node: ApacheDirective,
  name: string,
  _scope: Scope,
): void {
  if (name === 'fastcgiipcdir') {
    reading.none(node, 'sockets are in the runtime directory: UsherRuntimeDir');
    reading.remove(node);
  } else if (name === 'fastcgiwrapper' || name === 'fastcgisuexec') {
    const isOff = node.words[0]?.toLowerCase() === 'off';
    if (isOff) reading.taken(node, 'there is no wrapper');
    else
      reading.none(
        node,
        'programs run as their -user and -group without a wrapper, when httpd is started by root: give them to each class',
      );
    reading.remove(node);
  } else if (reading.draft.to === 'nginx') {
    reading.none(
      node,
      'nginx has no such phase: auth_request with a location of its own comes next to it',
    );
  } else {
    reading.taken(node, 'the same');
  }
}

function readDynamic(reading: ApacheReading, node: ApacheDirective): void {
  const options = readOptions(reading, node, node.words, 'dynamic');
  reading.draft.model.dynamic.options.push(...options);
  reading.draft.model.dynamic.sources.push(node.span);
  reading.taken(node, 'options of all dynamic programs');
  reading.remove(node);
}

function readClass(
  reading: ApacheReading,
  node: ApacheDirective,
  kind: ProgramClass['kind'],
): void {
  const [file = '', ...words] = node.words;
  const path = resolve(reading.configuration.serverRoot, file);
  const options = readOptions(reading, node, words, kind);
  reading.draft.model.classes.push({ name: path, kind, options, sources: [node.span] });
  reading.remove(node);
  if (kind === 'external') {
    if (!options.some(([name]) => name === 'concurrency')) options.push(['concurrency', '32']);
    reading.changed(
      node,
      'class of an address; -concurrency says how many requests it gets at once (mod_fastcgi: any number): set it to what the program can do',
    );
  } else {
    reading.taken(node, 'a static class');
  }
  if (!options.some(([name]) => name === 'idle-timeout') && reading.draft.to === 'apache') {
    reading.changed(
      node,
      'silence of the program: as long as Timeout (was 30 s), then 504 (was 500)',
    );
  }
}

function readOptions(
  reading: ApacheReading,
  node: ApacheDirective,
  words: readonly string[],
  kind: ProgramClass['kind'] | 'dynamic',
): Option[] {
  const options: Option[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    const name = spelled.get(
      word.replace(/^-/, '').toLowerCase().replace('threshhold', 'threshold'),
    );
    if (name === undefined || !word.startsWith('-')) {
      reading.none(node, `${word}: no option of mod_fastcgi`);
    } else if (alone.includes(name)) {
      options.push([name, true]);
    } else {
      const value = words[++at] ?? '';
      if (kind === 'external' && notForExternal.has(name)) {
        reading.none(node, `-${name}: who runs an external program decides as whom`, `-${name}`);
      } else options.push([name, value]);
    }
  }
  return reading.draft.to === 'nginx' ? forNginx(reading, node, options) : options;
}

function forNginx(reading: ApacheReading, node: ApacheDirective, options: Option[]): Option[] {
  for (const [name, value] of options) {
    if (name === 'nph') reading.none(node, 'nginx makes every status line itself', '-nph');
    if (name === 'pass-header') reading.taken(node, 'nginx passes it on', `-pass-header ${value}`);
    if (name === 'flush') reading.taken(node, 'fastcgi_buffering off', '-flush');
    if (name === 'idle-timeout')
      reading.taken(node, `fastcgi_read_timeout ${value}s`, `-idle-timeout ${value}`);
  }
  return options;
}
