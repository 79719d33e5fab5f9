// SPDX-License-Identifier: Apache-2.0
// Locations of nginx for httpd: which requests they are about, and what their directives become there.
import type { Draft } from './draft.ts';
import { type Host, type Mount, type Option, optionValue, type ProgramClass } from './model.ts';
import { inherited, type Level, parameter, parametersOf } from './nginx-levels.ts';
import type { NginxDirective } from './nginx-syntax.ts';
import type { Span } from './source.ts';
import { bytes, nginxSeconds, showTime } from './units.ts';

/** Parameters that httpd makes itself. */
const standard = new Set([
  ...[
    'QUERY_STRING',
    'REQUEST_METHOD',
    'CONTENT_TYPE',
    'CONTENT_LENGTH',
    'SCRIPT_FILENAME',
    'SCRIPT_NAME',
  ],
  ...['REQUEST_URI', 'DOCUMENT_URI', 'DOCUMENT_ROOT', 'SERVER_PROTOCOL', 'REQUEST_SCHEME', 'HTTPS'],
  ...[
    'GATEWAY_INTERFACE',
    'SERVER_SOFTWARE',
    'REMOTE_ADDR',
    'REMOTE_PORT',
    'SERVER_ADDR',
    'SERVER_PORT',
  ],
  ...[
    'SERVER_NAME',
    'REDIRECT_STATUS',
    'PATH_INFO',
    'PATH_TRANSLATED',
    'REMOTE_USER',
    'HTTP_PROXY',
    'HTTP_HOST',
  ],
]);

/** A location with fastcgi_pass as a mount of httpd. */
export function remarkForApache(
  draft: Draft,
  location: NginxDirective,
  level: Level,
  host: Host,
  name: string,
  source: Span,
): Mount {
  const script = parameter(level, 'SCRIPT_FILENAME') ?? '';
  const runsFiles = /\$(fastcgi_script_name|request_filename|uri|document_uri)/.test(script);
  const where = whereOf(draft, location, runsFiles, host);
  applyToClass(draft, level, name);
  const index = inherited(level, 'fastcgi_index')?.words[0];
  if (index !== undefined && !host.indexes.includes(index)) host.indexes.push(index);
  const target: Mount['target'] =
    name === 'usher-cgi' ? { kind: 'file', protocol: 'cgi' } : { kind: 'class', name };
  return { where, target, runsFiles, parameters: ownParameters(draft, level), sources: [source] };
}

function whereOf(
  draft: Draft,
  { words, head }: NginxDirective,
  runsFiles: boolean,
  host: Host,
): Mount['where'] {
  const [first = '/', second = ''] = words;
  if (first === '=') return { kind: 'exact', path: second };
  if (first === '~' || first === '~*') {
    const files = runsFiles ? fileNames(second, first === '~*', host) : null;
    if (files !== null) {
      draft.note(
        'changed',
        head,
        'sections of files: a file that is missing is 404 by httpd, and what stands behind a file is PATH_INFO',
      );
      return files;
    }
    draft.note(
      'changed',
      head,
      'of several expressions that fit httpd takes the last section, which is the first location here',
    );
    return { kind: 'expression', expression: second, ignoresCase: first === '~*' };
  }
  const path = first === '^~' ? second : first;
  if (path.startsWith('@')) {
    draft.note(
      'changed',
      head,
      'a named location: all of the host goes to the program, files too; except them by sections with UsherPass none',
    );
    return { kind: 'path', path: '' };
  }
  draft.note('taken', head, `<Location "${path}">`);
  return path === '/' ? { kind: 'path', path: '' } : { kind: 'start', path };
}

/** \.php$ and the like, also below a plain prefix. */
export function fileNames(
  expression: string,
  ignoresCase: boolean,
  { root }: Host,
): Mount['where'] | null {
  const match =
    /^(?:\^(\/[\w./-]*?)?)?(?:\/|\[\^\/\]|\.[+*]\??|\(\.[+*]\??|\(\?:?|\[\^\/\]\+?)*(\\\.(?:\w+|\([\w|?:]+\)))\)?(?:\$|\(\/\|\$\)|\(\$\|\/\)|\(\?:\$\|\/\)|\(\/\.[*+]\)\?\)?\$?|\(\|\/\.[*+]\)\$?)?$/.exec(
      expression,
    );
  if (match === null) return null;
  const [, prefix = '', names = ''] = match;
  const directory =
    prefix.replace(/\/+$/, '') === '' || root === null
      ? null
      : `${root}${prefix.replace(/\/+$/, '')}`;
  const suffix = /^\\\.\w+$/.test(names) ? names.slice(1) : null;
  return { kind: 'files', directory, suffix, names: `${ignoresCase ? '(?i)' : ''}${names}$` };
}

/** Constants that programs get besides the usual. */
function ownParameters(draft: Draft, level: Level): [string, string][] {
  const found = new Map<string, string>();
  for (const { words, span } of parametersOf(level)) {
    const [name = '', value = ''] = words;
    if (standard.has(name) || (name.startsWith('HTTP_') && /^\$http_/.test(value))) {
      draft.note('taken', span, 'httpd’s own');
    } else if (value.includes('$')) {
      draft.note(
        'none',
        span,
        `a variable of nginx: SetEnvIf or SetEnvIfExpr ${name} in the section of UsherPass`,
      );
    } else {
      draft.note('taken', span, `SetEnv ${name}`);
      found.set(name, value);
    }
  }
  return [...found];
}

const timeOptions: Record<string, string> = {
  fastcgi_read_timeout: 'idle-timeout',
  fastcgi_send_timeout: 'idle-timeout',
  fastcgi_connect_timeout: 'appConnTimeout',
};

/** What is a directive of nginx and an option for httpd; of several locations the longest time. */
function applyToClass(draft: Draft, level: Level, name: string): void {
  const known = draft.model.classes.find((one) => one.name === name);
  for (const [directive, option] of Object.entries(timeOptions)) {
    const node = inherited(level, directive);
    const time = node === undefined ? null : nginxSeconds(node.words.join(' '));
    if (node === undefined || time === null) continue;
    draft.note('taken', node.span, `-${option} ${showTime(time)}`);
    if (known !== undefined) raise(known, option, time);
  }
  const buffering = inherited(level, 'fastcgi_buffering');
  if (buffering?.words[0] !== 'off') return;
  draft.note('taken', buffering.span, '-flush');
  if (known !== undefined && !known.options.some(([one]) => one === 'flush'))
    known.options.push(['flush', true]);
}

function raise(known: ProgramClass, option: string, time: number): void {
  const before = optionValue(known.options, option);
  if (before !== null && (nginxSeconds(before) ?? 0) >= time) return;
  const rest = known.options.filter(([name]) => name !== option);
  known.options = [...rest, [option, showTime(time)] satisfies Option];
}

const reasons: Record<string, string> = {
  fastcgi_cache: 'mod_cache: CacheEnable',
  fastcgi_cache_path: 'mod_cache: CacheRoot',
  fastcgi_cache_valid: 'mod_cache: CacheDefaultExpire',
  fastcgi_intercept_errors: 'httpd passes a program’s error page on',
  fastcgi_next_upstream:
    'a refused connection goes to another address; what was sent is repeated once when it is idempotent',
  fastcgi_buffers: 'an answer is read at most 1 MB ahead of the client',
  fastcgi_buffer_size: 'an answer is read at most 1 MB ahead of the client',
  fastcgi_busy_buffers_size: 'an answer is read at most 1 MB ahead of the client',
  fastcgi_request_buffering: 'a body is read before the program gets the request',
  fastcgi_hide_header: 'mod_headers: Header unset',
  fastcgi_pass_header: 'all headers of a program are passed on',
  fastcgi_ignore_headers: 'X-Accel-… mean nothing to httpd',
};
const taken: Record<string, string> = {
  fastcgi_split_path_info: 'httpd finds PATH_INFO by the file',
  fastcgi_index: 'DirectoryIndex',
  root: 'DocumentRoot, where it is the server’s; else write an Alias',
  index: 'DirectoryIndex',
  listen: 'Listen, <VirtualHost>',
  server_name: 'ServerName, ServerAlias',
  ssl_certificate: 'SSLCertificateFile',
  ssl_certificate_key: 'SSLCertificateKeyFile',
  alias: 'Alias',
  include: 'its lines are looked at',
};

/** try_files and sizes of a location. */
export function nginxLocation(draft: Draft, _node: NginxDirective, level: Level, host: Host): void {
  if (draft.to !== 'apache') return;
  for (const { name, words, span } of level.nodes) {
    if (name !== 'try_files') continue;
    const last = words.at(-1) ?? '';
    if (last.startsWith('=')) draft.note('taken', span, 'files that are missing are 404');
    else if (last.startsWith('/')) {
      host.fallback = last.replace(/[?$].*$/, '');
      draft.note('taken', span, `FallbackResource ${host.fallback}`);
    }
  }
}

/** What is left of nginx's directives, for httpd. */
export function remarkRest(
  draft: Draft,
  nodes: readonly NginxDirective[],
  host: Host | null,
): void {
  for (const node of nodes) {
    const { name, span, head, words } = node;
    if (name === 'client_max_body_size' && host !== null) {
      host.maxBodyBytes = bytes(words[0] ?? '');
      draft.note('taken', span, `LimitRequestBody ${host.maxBodyBytes ?? ''}`);
    }
    const isBlock = node.children !== null;
    if (isBlock && ['http', 'server', 'location', 'upstream', 'events', 'if'].includes(name))
      continue;
    if (draft.isNoted(span) || draft.isNoted(head)) continue;
    if (taken[name] !== undefined) draft.note('taken', span, taken[name] ?? '');
    else
      draft.note(
        'none',
        isBlock ? head : span,
        reasons[name] ?? 'not about programs: write it for httpd by hand',
      );
  }
}
