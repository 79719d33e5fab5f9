// SPDX-License-Identifier: Apache-2.0
// From the parameters of a FastCGI request to the environment of a CGI program. Source: RFC 3875 §4.1.
import { Params, type ParamsOrder } from '../fastcgi/params.ts';
import { ProtocolError } from '../protocol-error.ts';

export interface EnvironmentOptions {
  /** NAME=VALUE of the class: PATH, -initial-env … Parameters do not replace them. */
  base?: Iterable<string>;
  /** The file that was found for USHER_PROGRAM, and what that has behind it: "" or "/…". */
  program?: { file: string; pathInfo: string };
  /** Of the request's body, when that is there as a whole: counts instead of CONTENT_LENGTH. */
  bodyBytes?: number;
}

/** Linux takes no longer string, its NUL included (MAX_ARG_STRLEN). */
const STRING_BYTES_MAX = 131072;

/** Those of FastCGI and Usher; of headers, what is no header of a program's request: HTTP_PROXY would be
 * a proxy's address, the others are there under their own names or speak of the connection. */
const withheld =
  /^(?:FCGI_.*|USHER_.*|HTTP_PROXY|HTTP_CONTENT_LENGTH|HTTP_CONTENT_TYPE|HTTP_TRANSFER_ENCODING)$/;

/** What is made of several parameters. */
const described = new Set([
  ...['CONTENT_LENGTH', 'CONTENT_TYPE', 'SCRIPT_FILENAME', 'SCRIPT_NAME', 'PATH_INFO'],
  ...['PATH_TRANSLATED', 'QUERY_STRING', 'GATEWAY_INTERFACE'],
]);

/** What loaders, shells and interpreters obey before a program's first line. Only the class sets them:
 * a web server may ask a program of another user for an answer, and for nothing else. */
const obeyed = new RegExp(
  `^(?:${[
    ...['LD_.*', 'GLIBC_TUNABLES', 'GCONV_PATH', 'GETCONF_DIR', 'HOSTALIASES', 'LOCALDOMAIN'],
    ...['LOCPATH', 'MALLOC_.*', 'NIS_PATH', 'NLSPATH', 'RESOLV_HOST_CONF', 'RES_OPTIONS', 'TZDIR'],
    ...['PATH', 'HOME', 'SHELL', 'TMPDIR', 'ENV', 'BASH_.*', 'BASHOPTS', 'SHELLOPTS', 'IFS', 'PS4'],
    ...['CDPATH', 'ZDOTDIR', 'PERL5.*', 'PERLLIB', 'PERLIO.*', 'PYTHON.*', 'RUBY.*', 'GEM_.*'],
    ...['NODE_.*', 'PHPRC', 'PHP_INI_SCAN_DIR', 'JAVA_TOOL_OPTIONS', '_JAVA_OPTIONS', 'JDK_.*'],
    ...['CLASSPATH', 'LUA_.*', 'TCL.*', 'GUILE_.*', 'R_.*', 'OPENSSL_.*', 'DOTNET_.*', 'MONO_.*'],
  ].join('|')})$`,
);

/** A parameter that becomes a variable, and what its variable begins with. */
interface Passed {
  name: string;
  begin: string;
}

/** By the order of the parameters, which many requests have in common. */
const ordered = new WeakMap<ParamsOrder, readonly Passed[]>();

function passedAmong(params: ReadonlyMap<string, string>): readonly Passed[] {
  if (!(params instanceof Params)) return chooseFrom(params.keys());
  let known = ordered.get(params.order);
  if (known === undefined) {
    known = chooseFrom(params.keys());
    ordered.set(params.order, known);
  }
  return known;
}

function chooseFrom(names: Iterable<string>): Passed[] {
  const passed: Passed[] = [];
  for (const name of names) {
    const isVariable = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !described.has(name);
    if (!isVariable || withheld.test(name) || obeyed.test(name)) continue;
    passed.push({ name, begin: `${name}=` });
  }
  return passed;
}

/**
 * NAME=VALUE, Latin-1. Names that are no identifiers are left out; Authorization is there when the
 * server sent it.
 * @throws ProtocolError 400 for NUL in a value, 431 for one that is longer than a program can get
 */
export function cgiEnvironment(
  params: ReadonlyMap<string, string>,
  options: EnvironmentOptions = {},
): string[] {
  const variables = new Variables(options.base ?? []);
  for (const { name, begin } of passedAmong(params)) {
    variables.add(name, begin, params.get(name) as string);
  }
  describeBody(variables, params, options.bodyBytes);
  describePath(variables, params, options.program);
  variables.set('QUERY_STRING', params.get('QUERY_STRING') ?? queryOf(params));
  variables.set('GATEWAY_INTERFACE', 'CGI/1.1');
  return variables.entries;
}

/** Names are added once each. */
class Variables {
  readonly entries: string[];
  /** Of the class: what a request says does not replace them. */
  readonly #given = new Set<string>();

  constructor(base: Iterable<string>) {
    this.entries = [...base];
    for (const entry of this.entries) this.#given.add(entry.slice(0, entry.indexOf('=')));
  }

  set(name: string, value: string): void {
    this.add(name, `${name}=`, value);
  }

  setUnlessEmpty(name: string, value: string | undefined): void {
    if (value !== undefined && value !== '') this.set(name, value);
  }

  add(name: string, begin: string, value: string): void {
    if (this.#given.has(name)) return;
    if (value.includes('\0')) {
      throw new ProtocolError(`CGI: a NUL in the value of parameter ${name}`, 400);
    }
    if (begin.length + value.length >= STRING_BYTES_MAX) {
      const most = `a variable of the environment has at most ${STRING_BYTES_MAX - 1}`;
      throw new ProtocolError(`CGI: parameter ${name} has ${value.length} bytes; ${most}`, 431);
    }
    this.entries.push(begin + value);
  }
}

function describeBody(
  variables: Variables,
  params: ReadonlyMap<string, string>,
  bodyBytes: number | undefined,
): void {
  const said = /^\d+$/.exec(params.get('CONTENT_LENGTH') ?? '')?.[0];
  const isThere = bodyBytes !== undefined && (bodyBytes > 0 || said !== undefined);
  variables.setUnlessEmpty('CONTENT_LENGTH', isThere ? String(bodyBytes) : said);
  variables.setUnlessEmpty(
    'CONTENT_TYPE',
    params.get('CONTENT_TYPE') || params.get('HTTP_CONTENT_TYPE'),
  );
}

/** SCRIPT_NAME and PATH_INFO, which together are the URL's path, and PATH_TRANSLATED. */
function describePath(
  variables: Variables,
  params: ReadonlyMap<string, string>,
  program: EnvironmentOptions['program'],
): void {
  const given = { script: params.get('SCRIPT_NAME') ?? '', info: params.get('PATH_INFO') };
  const path = params.get('DOCUMENT_URI') || given.script + (given.info ?? '');
  const prefix = params.get('USHER_PREFIX');
  let { script, info = '' } = given;
  let isGiven = given.info !== undefined;
  const file = program?.file ?? params.get('SCRIPT_FILENAME');
  if (file !== undefined) variables.set('SCRIPT_FILENAME', file);
  if (program !== undefined && program.pathInfo !== '' && path.endsWith(program.pathInfo)) {
    script = path.slice(0, -program.pathInfo.length);
    info = program.pathInfo;
    isGiven = false;
  } else if (prefix !== undefined && !isGiven) {
    const root = prefix.replace(/\/+$/, '');
    if (path === root || path.startsWith(`${root}/`)) {
      script = root;
      info = path.slice(root.length);
    }
  }
  variables.set('SCRIPT_NAME', script);
  variables.setUnlessEmpty('PATH_INFO', info);
  const translated = (isGiven && params.get('PATH_TRANSLATED')) || translate(params, info);
  variables.setUnlessEmpty('PATH_TRANSLATED', info === '' ? '' : translated);
}

function translate(params: ReadonlyMap<string, string>, info: string): string {
  const root = params.get('DOCUMENT_ROOT')?.replace(/\/+$/, '');
  const leavesRoot = !info.startsWith('/') || /\/\.\.(?:\/|$)/.test(info);
  return root === undefined || leavesRoot ? '' : root + info;
}

function queryOf(params: ReadonlyMap<string, string>): string {
  const uri = params.get('REQUEST_URI') ?? '';
  const mark = uri.indexOf('?');
  return mark === -1 ? '' : uri.slice(mark + 1);
}
