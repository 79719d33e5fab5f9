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

/** A class that its line does not define as it should. */
export interface BrokenClass {
  name: string;
  /** Begins with where the administrator wrote it. */
  reason: string;
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
  broken: BrokenClass[];
  dynamic?: DynamicDirective;
  /** Why a FCGIConfig could not be used; what it restricts is not known then. */
  brokenDynamic?: string;
  /** Directories below which dynamic classes may be started. */
  roots: string[];
  runtimeDir?: string;
  log?: string;
  /** Loopback addresses where the manager is to listen: ADDRESS:PORT. */
  metrics: string[];
  dashboards: string[];
}

/** The part of ts/native that reading needs. */
export interface Validator {
  parseOptions(scope: OptionScope, words: string[], name?: string): Record<string, OptionValue>;
  checkLoopback(address: string): void;
}

interface Reading {
  registration: Registration;
  validator: Validator;
  /** Words of all FCGIConfig lines so far. */
  dynamicWords: string[];
}

type Directive = (reading: Reading, args: string[], line: Line) => void;

const readStatic = classDirective('static');
const readExternal = classDirective('external');

/** In the order in which an error lists them. */
const directives: [names: string[], read: Directive][] = [
  [['AppClass', 'FastCgiServer'], readStatic],
  [['ExternalAppClass', 'FastCgiExternalServer'], readExternal],
  [['FCGIConfig', 'FastCgiConfig'], readDynamic],
  [['UsherServer'], readServer],
  [['UsherRoot'], readRoot],
  [['UsherRuntimeDir'], pathDirective('runtimeDir')],
  [['UsherLog'], pathDirective('log')],
  [['UsherMetrics'], listenDirective('metrics')],
  [['UsherDashboard'], listenDirective('dashboards')],
];

const byName = new Map(
  directives.flatMap(([names, read]) => names.map((name) => [name.toLowerCase(), read] as const)),
);

/**
 * What can be used of a text, and what is wrong with the rest: one bad line costs its own class only.
 * @param file What errors call the text.
 */
export function readDialect(
  text: string,
  file: string,
  validator: Validator,
): { registration: Registration; errors: ConfigError[] } {
  const registration: Registration = {
    ...{ classes: [], broken: [], roots: [] },
    ...{ metrics: [], dashboards: [] },
  };
  const reading: Reading = { registration, validator, dynamicWords: [] };
  const errors: ConfigError[] = [];
  for (const line of readLines(text, file)) {
    try {
      readDirective(reading, line);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
      noteBroken(registration, line, error.message);
    }
  }
  return { registration, errors };
}

/**
 * The same for a text that must be right as a whole.
 * @throws ConfigError that says all that is wrong.
 */
export function parseDialect(text: string, file: string, validator: Validator): Registration {
  const { registration, errors } = readDialect(text, file, validator);
  if (errors.length > 0) throw ConfigError.all(errors);
  return registration;
}

function readDirective(reading: Reading, line: Line): void {
  const [name = '', ...args] = line.words;
  if (line.error !== null) throw line.error;
  const directive = byName.get(name.toLowerCase());
  if (directive === undefined) {
    const known = directives.map(([names]) => names[0]).join(', ');
    throw new ConfigError(line, `${name} is no directive; expected one of ${known}`);
  }
  directive(reading, args, line);
}

/** Requests for what the line should have defined are told the reason. */
function noteBroken(registration: Registration, { words }: Line, reason: string): void {
  const directive = byName.get(words[0]?.toLowerCase() ?? '');
  const [, name] = words;
  if (directive === readDynamic) registration.brokenDynamic ??= reason;
  const isClass = directive === readStatic || directive === readExternal;
  if (!isClass || name === undefined) return;
  const isDefined = registration.classes.some((other) => other.name === name);
  if (!isDefined) registration.broken.push({ name, reason });
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
  const words = [...reading.dynamicWords, ...args];
  const options = checked(line, () => reading.validator.parseOptions('dynamic', words));
  reading.dynamicWords = words;
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

function listenDirective(property: 'metrics' | 'dashboards'): Directive {
  return ({ registration, validator }, args, line) => {
    const [address, ...more] = args;
    if (address === undefined || more.length > 0) {
      throw new ConfigError(line, `${line.words.join(' ')}: expected one address`);
    }
    checked(line, () => validator.checkLoopback(address));
    registration[property].push(address);
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
