// SPDX-License-Identifier: Apache-2.0
// jserv.properties, with which Apache JServ described a servlet engine: to mod_jserv, which started it
// (wrapper.*), and to the engine (port, security.*). Read for `usher jserv`, and by programs that are
// started in the place of JServ's virtual machine.
import { ConfigError } from './config-error.ts';

export interface JservProperties {
  /** Program and arguments, as mod_jserv ran it: virtual machine, class, this file, the class's words. */
  command: readonly string[];
  /** NAME=value; CLASSPATH and PATH where they are given. */
  env: readonly string[];
  /** Variables that mod_jserv handed on from its own environment. */
  copiedEnv: readonly string[];
  copiesAllEnv: boolean;
  /** Where the engine listens; null = at all addresses. */
  bindAddress: string | null;
  port: number;
  /** File with the secret; null = nobody is asked for one. */
  secretKeyFile: string | null;
  /** Bytes of the challenge that the engine sends. */
  challengeSize: number;
  maxConnections: number;
  backlog: number;
  /** Who may connect; null = everybody. */
  allowedAddresses: readonly string[] | null;
  /** Each with the file that describes it, where one is named (ZONE.properties=FILE). */
  zones: ReadonlyMap<string, string | null>;
  /** Keys usher.*, without "usher.". */
  usher: ReadonlyMap<string, string>;
}

/** What a zone's file says. */
export interface ZoneProperties {
  /** Directories of the programs. */
  repositories: readonly string[];
  servlets: ReadonlyMap<string, ServletProperties>;
}

export interface ServletProperties {
  /** Its program, or class. */
  code: string;
  initArgs: ReadonlyMap<string, string>;
}

const CLASS = 'org.apache.jserv.JServ';
const PORT = 8007;

interface Line {
  value: string;
  line: number;
}

/** Key = value, `#` begins a comment, a `\` at the end goes on; a key may stand several times. */
class Properties {
  readonly #file: string;
  readonly #lines = new Map<string, Line[]>();

  constructor(text: string, file: string) {
    this.#file = file;
    let begun = '';
    for (const [index, raw] of text.split(/\r?\n/).entries()) {
      const line = begun + raw.trim();
      begun = '';
      if (line === '' || line.startsWith('#') || line.startsWith('!')) continue;
      if (line.endsWith('\\')) {
        begun = line.slice(0, -1);
        continue;
      }
      const at = line.indexOf('=');
      if (at < 1) throw this.error(index + 1, `"${line}": expected NAME=VALUE`);
      const key = line.slice(0, at).trim();
      const lines = this.#lines.get(key) ?? [];
      lines.push({ value: line.slice(at + 1).trim(), line: index + 1 });
      this.#lines.set(key, lines);
    }
    if (begun !== '')
      throw new ConfigError({ file, line: text.split('\n').length }, 'the last line goes on');
  }

  /** Of all lines with the key; empty ones say nothing. */
  all(key: string): string[] {
    const lines = this.#lines.get(key) ?? [];
    return lines.map(({ value }) => value).filter((value) => value !== '');
  }

  /** Those that begin so. */
  keys(start: string): string[] {
    return [...this.#lines.keys()].filter((key) => key.startsWith(start));
  }

  /** Of the last line. */
  last(key: string): string | null {
    return this.all(key).at(-1) ?? null;
  }

  /** Parts between commas, of all lines. */
  list(key: string): string[] {
    return this.all(key)
      .flatMap((value) => value.split(','))
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }

  number(key: string, fallback: number, min: number, max: number): number {
    const found = this.#lines.get(key)?.at(-1);
    if (found === undefined || found.value === '') return fallback;
    const number = /^\d+$/.test(found.value) ? Number(found.value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw this.error(found.line, `${key}=${found.value}: expected a number from ${min} to ${max}`);
  }

  flag(key: string, fallback: boolean): boolean {
    const found = this.#lines.get(key)?.at(-1);
    if (found === undefined || found.value === '') return fallback;
    const word = found.value.toLowerCase();
    if (word === 'true' || word === 'false') return word === 'true';
    throw this.error(found.line, `${key}=${found.value}: expected true or false`);
  }

  /** The line of a key that is there. */
  lineOf(key: string): number {
    return this.#lines.get(key)?.at(-1)?.line ?? 1;
  }

  error(line: number, reason: string): ConfigError {
    return new ConfigError({ file: this.#file, line }, reason);
  }
}

/**
 * @param file Path of the file, as the engine is to get it.
 * @throws ConfigError naming file, line and what is allowed.
 */
export function parseJservProperties(text: string, file: string): JservProperties {
  const properties = new Properties(text, file);
  const classpath = properties.all('wrapper.classpath').join(':');
  const path = properties.last('wrapper.path');
  const env = properties.all('wrapper.env');
  for (const variable of env) {
    if (variable.indexOf('=') > 0) continue;
    throw properties.error(
      properties.lineOf('wrapper.env'),
      `wrapper.env=${variable}: expected wrapper.env=NAME=VALUE`,
    );
  }
  const authenticates = properties.flag('security.authentication', true);
  const secretKeyFile = properties.last('security.secretKey');
  if (authenticates && secretKeyFile === null) {
    const reason =
      'security.secretKey=FILE is missing; security.authentication=false is without it';
    throw properties.error(properties.lineOf('security.authentication'), reason);
  }
  const bindAddress = properties.last('bindaddress') ?? 'localhost';
  const allowed = properties.list('security.allowedAddresses');
  const isOpen = allowed.some((one) => one.toUpperCase() === 'DISABLED');
  return {
    command: [
      ...[properties.last('wrapper.bin') ?? 'java', ...words(properties, 'wrapper.bin.parameters')],
      ...[properties.last('wrapper.class') ?? CLASS, file],
      ...words(properties, 'wrapper.class.parameters'),
    ],
    env: [
      ...(classpath === '' ? [] : [`CLASSPATH=${classpath}`]),
      ...(path === null ? [] : [`PATH=${path}`]),
      ...env,
    ],
    copiedEnv: properties.list('wrapper.env.copy'),
    copiesAllEnv: properties.flag('wrapper.env.copyall', false),
    bindAddress: bindAddress === '*' ? null : bindAddress,
    port: properties.number('port', PORT, 1, 65535),
    secretKeyFile: authenticates ? secretKeyFile : null,
    challengeSize: properties.number('security.challengeSize', 5, 1, 1024),
    maxConnections: properties.number('security.maxConnections', 50, 1, 65535),
    backlog: properties.number('security.backlog', 5, 1, 65535),
    allowedAddresses: isOpen ? null : allowed.length > 0 ? allowed : ['127.0.0.1'],
    zones: new Map(
      properties.list('zones').map((zone) => [zone, properties.last(`${zone}.properties`)]),
    ),
    usher: new Map(
      properties.keys('usher.').map((key) => [key.slice(6), properties.last(key) ?? '']),
    ),
  };
}

/** @throws ConfigError naming file, line and what is allowed. */
export function parseZoneProperties(text: string, file: string): ZoneProperties {
  const properties = new Properties(text, file);
  const common = argumentsOf(properties, 'servlets.default.initArgs');
  const servlets = new Map<string, ServletProperties>();
  for (const key of properties.keys('servlet.')) {
    const name = /^servlet\.(.+)\.code$/.exec(key)?.[1];
    if (name === undefined) continue;
    const own = argumentsOf(properties, `servlet.${name}.initArgs`);
    const code = properties.last(key);
    if (code === null)
      throw properties.error(properties.lineOf(key), `${key}: a program is missing`);
    servlets.set(name, { code, initArgs: new Map([...common, ...own]) });
  }
  return { repositories: properties.list('repositories'), servlets };
}

/** NAME=VALUE,… */
function argumentsOf(properties: Properties, key: string): [string, string][] {
  return properties.list(key).map((text) => {
    const at = text.indexOf('=');
    if (at > 0) return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    throw properties.error(properties.lineOf(key), `${key}: "${text}": expected NAME=VALUE`);
  });
}

function words(properties: Properties, key: string): string[] {
  return properties.all(key).flatMap((value) => value.split(/\s+/));
}
