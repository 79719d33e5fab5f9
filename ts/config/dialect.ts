// SPDX-License-Identifier: Apache-2.0
// Reads usher.conf and the registrations that web servers leave in the runtime directory. Used by
// ts/manager. Options are checked by the validator that the servers use themselves, handed in.
import type { OptionScope, OptionValue } from '../native/native.ts';
import { ConfigError } from './config-error.ts';
import { type Line, readLines } from './lines.ts';

export interface ClassDirective {
  scope: 'static' | 'external';
  /** Name or absolute path. */
  name: string;
  /** By id; only those given. */
  options: Record<string, OptionValue>;
  /** "file:line" where the administrator wrote it. */
  source: string;
}

/** All dynamic classes: FCGIConfig; several of them count as one. */
export interface DynamicDirective {
  options: Record<string, OptionValue>;
  /** Of the first. */
  source: string;
}

/** The web server that wrote the registration. */
export interface ServerIdentity {
  name: string;
  generation: number;
  /** "nginx", "apache". */
  kind: string;
  pid: number;
  /** Of its workers. */
  user: string;
  group: string;
  /** Its configuration file. */
  configuration: string;
}

export interface Registration {
  /** Absent in usher.conf. */
  server?: ServerIdentity;
  classes: ClassDirective[];
  dynamic?: DynamicDirective;
  /** Directories below which dynamic classes may be started. */
  roots: string[];
  runtimeDir?: string;
  log?: string;
}

/** The part of ts/native that reading needs. */
export interface Validator {
  parseOptions(scope: OptionScope, words: string[], name?: string): Record<string, OptionValue>;
}

interface Reading {
  registration: Registration;
  validator: Validator;
  /** Words of all FCGIConfig lines so far. */
  dynamicWords: string[];
}

type Directive = (reading: Reading, args: string[], line: Line) => void;

/** In the order in which an error lists them. */
const directives: [names: string[], read: Directive][] = [
  [['AppClass', 'FastCgiServer'], classDirective('static')],
  [['ExternalAppClass', 'FastCgiExternalServer'], classDirective('external')],
  [['FCGIConfig', 'FastCgiConfig'], readDynamic],
  [['UsherServer'], readServer],
  [['UsherRoot'], readRoot],
  [['UsherRuntimeDir'], pathDirective('runtimeDir')],
  [['UsherLog'], pathDirective('log')],
];

const byName = new Map(
  directives.flatMap(([names, read]) => names.map((name) => [name.toLowerCase(), read] as const)),
);

/**
 * @param file What errors call the text.
 * @throws ConfigError for the first line that cannot be used.
 */
export function parseDialect(text: string, file: string, validator: Validator): Registration {
  const registration: Registration = { classes: [], roots: [] };
  const reading: Reading = { registration, validator, dynamicWords: [] };
  for (const line of readLines(text, file)) {
    const [name = '', ...args] = line.words;
    const directive = byName.get(name.toLowerCase());
    if (directive === undefined) {
      const known = directives.map(([names]) => names[0]).join(', ');
      throw new ConfigError(line, `${name} is no directive; expected one of ${known}`);
    }
    directive(reading, args, line);
  }
  return registration;
}

function classDirective(scope: 'static' | 'external'): Directive {
  return ({ registration, validator }, args, line) => {
    const [name, ...words] = args;
    if (name === undefined) throw new ConfigError(line, `${line.words[0]} needs a name or path`);
    const known = registration.classes.find((other) => other.name === name);
    if (known !== undefined) {
      throw new ConfigError(line, `class ${name} is defined already at ${known.source}`);
    }
    const options = checked(line, () => validator.parseOptions(scope, words, name));
    registration.classes.push({ scope, name, options, source: line.source });
  };
}

function readDynamic(reading: Reading, args: string[], line: Line): void {
  reading.dynamicWords.push(...args);
  const options = checked(line, () =>
    reading.validator.parseOptions('dynamic', reading.dynamicWords),
  );
  const source = reading.registration.dynamic?.source ?? line.source;
  reading.registration.dynamic = { options, source };
}

function readServer({ registration }: Reading, args: string[], line: Line): void {
  if (registration.server !== undefined) throw new ConfigError(line, 'a second UsherServer');
  const [name = '', ...words] = args;
  // It becomes part of paths.
  if (!/^[\w-][\w.-]{0,62}$/.test(name)) {
    throw new ConfigError(line, `UsherServer: "${name}" is no server name`);
  }
  const fields = new Map<string, string>();
  for (let i = 0; i < words.length; i += 2) fields.set(words[i] ?? '', words[i + 1] ?? '');
  const text = (field: string): string => {
    const value = fields.get(field) ?? '';
    if (value === '') throw new ConfigError(line, `UsherServer: ${field} is missing`);
    return value;
  };
  const number = (field: string): number => {
    const value = text(field);
    if (!/^[1-9]\d{0,9}$/.test(value)) {
      throw new ConfigError(
        line,
        `UsherServer: ${field} ${value}: expected a whole number above 0`,
      );
    }
    return Number(value);
  };
  registration.server = {
    name,
    generation: number('-generation'),
    kind: text('-kind'),
    pid: number('-pid'),
    user: text('-user'),
    group: text('-group'),
    configuration: text('-configuration'),
  };
}

function readRoot({ registration }: Reading, args: string[], line: Line): void {
  registration.roots.push(onePath(args, line));
}

function pathDirective(property: 'runtimeDir' | 'log'): Directive {
  return ({ registration }, args, line) => {
    if (registration[property] !== undefined) {
      throw new ConfigError(line, `a second ${line.words[0]}`);
    }
    registration[property] = onePath(args, line);
  };
}

function onePath(args: string[], line: Line): string {
  const [path, ...more] = args;
  if (path === undefined || more.length > 0 || !path.startsWith('/')) {
    throw new ConfigError(line, `${line.words.join(' ')}: expected one absolute path`);
  }
  return path;
}

/** Runs a check of the validator; what it objects to becomes an error of the line. */
function checked<Result>(line: Line, check: () => Result): Result {
  try {
    return check();
  } catch (error) {
    const isObjection = (error as NodeJS.ErrnoException).code === 'ERR_USHER_INVALID';
    if (error instanceof Error && isObjection) throw new ConfigError(line, error.message);
    throw error;
  }
}
