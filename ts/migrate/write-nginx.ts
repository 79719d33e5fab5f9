// SPDX-License-Identifier: Apache-2.0
// The model as nginx.conf: classes, and a server for each host with the locations of its programs.
import {
  type Alias,
  type Host,
  hasOption,
  type Model,
  type Mount,
  type Option,
  optionValue,
  type ProgramClass,
} from './model.ts';
import { escapeExpression } from './source.ts';
import { indent, nginxClasses, quote } from './write-classes.ts';

/** What stands at http level. */
export function writeNginx(model: Model, base: string): string {
  const roots = programRoots(model);
  const dynamic = { ...model.dynamic, options: [...model.dynamic.options, ...roots] };
  const lines = [
    ...nginxClasses({ ...model, dynamic }, base),
    ...model.hosts.flatMap((host) => ['', ...writeHost(host, model)]),
  ];
  return `${lines.join('\n').trim()}\n`;
}

/** Programs below an alias: nginx tells Usher its roots only, and dynamic_root takes their place. */
function programRoots({ hosts }: Model): Option[] {
  const ofAliases = hosts.flatMap((host) =>
    host.aliases
      .filter((alias) => mountsOfAlias(alias, host).some(({ target }) => target.kind === 'file'))
      .map(({ path }) => path),
  );
  if (ofAliases.length === 0) return [];
  const all = [...hosts.map(({ root }) => root).filter((root) => root !== null), ...ofAliases];
  return [...new Set(all)].map((path): Option => ['dynamicRoot', path.replace(/(.)\/+$/, '$1')]);
}

function writeHost(host: Host, model: Model): string[] {
  const listens = host.listens.length === 0 ? ['80'] : host.listens;
  const { tls } = host;
  return [
    'server {',
    ...indent([
      ...listens.map(
        (listen) => `listen ${listen}${tls === null || / ssl\b/.test(listen) ? '' : ' ssl'};`,
      ),
      ...(host.names.length === 0 ? [] : [`server_name ${host.names.map(quote).join(' ')};`]),
      ...(tls?.certificate ? [`ssl_certificate ${quote(tls.certificate)};`] : []),
      ...(tls === null ? [] : [`ssl_certificate_key ${quote(tls.key ?? tls.certificate ?? '')};`]),
      ...(host.root === null ? [] : [`root ${quote(host.root)};`]),
      ...(host.indexes.length === 0 ? [] : [`index ${host.indexes.map(quote).join(' ')};`]),
      ...(host.maxBodyBytes === null ? [] : [`client_max_body_size ${host.maxBodyBytes};`]),
      ...(host.fallback === null
        ? []
        : [`location / { try_files $uri $uri/ ${quote(host.fallback)}$is_args$args; }`]),
      ...host.aliases.flatMap((alias) => aliasLocation(alias, host, model)),
      ...inOrder(host).flatMap((mount) => writeMount(mount, host, model)),
    ]),
    '}',
  ];
}

/** Files of an alias, with what runs among them. */
function aliasLocation(alias: Alias, host: Host, model: Model): string[] {
  const inside = mountsOfAlias(alias, host).flatMap((mount) => {
    const { where } = mount;
    if (where.kind !== 'files') return [];
    return runningFiles(mount, `${regexStart(alias.url)}${nameEnd(where)}`, model, 'alias');
  });
  const isFile = !alias.url.endsWith('/') && /\.[a-z]+$/.test(alias.path);
  if (isFile)
    return inside.length > 0
      ? inside
      : [`location = ${quote(alias.url)} { alias ${quote(alias.path)}; }`];
  const url = alias.url.replace(/\/*$/, '/');
  return [
    `location ^~ ${quote(url)} {`,
    ...indent([`alias ${quote(alias.path.replace(/\/*$/, '/'))};`, ...inside]),
    '}',
  ];
}

/** A handler for all files of a directory is stronger than those by name. */
function mountsOfAlias({ path }: Alias, { mounts }: Host): Mount[] {
  const own = mounts.filter(
    ({ where }) => where.kind === 'files' && concerns(where.directory, path),
  );
  const forced = own.filter(({ where }) => where.kind === 'files' && where.names === '').at(-1);
  return forced === undefined ? own : [forced];
}

function concerns(directory: string | null, path: string): boolean {
  return directory === null || isBelow(path, directory);
}

export function isBelow(path: string, directory: string): boolean {
  const top = directory.replace(/\/+$/, '');
  return path.replace(/\/+$/, '') === top || path.startsWith(`${top}/`);
}

/**
 * What is said of URLs is stronger than what is said of files. Where expressions are among them all
 * become expressions, of which nginx takes the first: else a prefix would keep it from looking at them.
 */
function inOrder({ mounts }: Host): Mount[] {
  const ofUrls = mounts.filter(({ where }) => where.kind !== 'files');
  const ofFiles = mounts.filter(({ where }) => where.kind === 'files');
  const isMixed = ofUrls.some(({ where }) => where.kind === 'expression');
  return [...(isMixed ? ofUrls.map(asExpression) : ofUrls), ...ofFiles];
}

function asExpression(mount: Mount): Mount {
  const { where } = mount;
  if (where.kind === 'path' && where.path !== '') {
    const expression = `^${escapeExpression(where.path)}(/|$)`;
    return {
      ...mount,
      where: { kind: 'expression', expression, ignoresCase: false, cut: where.path },
    };
  }
  if (where.kind !== 'start') return mount;
  const expression = `^${escapeExpression(where.path)}`;
  return {
    ...mount,
    where: { kind: 'expression', expression, ignoresCase: false, cut: cutOf(where) },
  };
}

/** The part of the URL that is the program's SCRIPT_NAME; null = nobody knows. */
function cutOf(where: Mount['where']): string | null {
  if (where.kind === 'path' || where.kind === 'exact') return where.path;
  if (where.kind === 'start' && where.path.endsWith('/')) return where.path.slice(0, -1);
  return where.kind === 'expression' ? (where.cut ?? null) : null;
}

function writeMount(mount: Mount, host: Host, model: Model): string[] {
  const { where, target } = mount;
  if (where.kind === 'files') return filesOfRoot(mount, host, model);
  const body = target.kind === 'nobody' ? [] : passLines(mount, model);
  switch (where.kind) {
    case 'path':
      if (where.path === '') return location('/', body);
      return [
        ...location(`= ${quote(where.path)}`, body),
        ...location(`^~ ${quote(`${where.path}/`)}`, body),
      ];
    case 'start':
      return location(`^~ ${quote(where.path)}`, body);
    case 'exact':
      return location(`= ${quote(where.path)}`, body);
    case 'expression':
      return location(`~${where.ignoresCase ? '*' : ''} ${expression(where.expression)}`, body);
  }
}

function filesOfRoot(mount: Mount, { root }: Host, model: Model): string[] {
  const { where } = mount;
  if (where.kind !== 'files' || root === null) return [];
  const { directory } = where;
  if (directory !== null && !isBelow(root, directory) && !isBelow(directory, root)) return [];
  const below = directory !== null && isBelow(directory, root) ? directory.slice(root.length) : '';
  return runningFiles(mount, `${regexStart(below)}${nameEnd(where)}`, model, 'root');
}

function regexStart(url: string): string {
  return `^${escapeExpression(url.replace(/\/+$/, ''))}/`;
}

/** The names of files, as the end of a path, with what stands behind them. */
function nameEnd(where: Extract<Mount['where'], { kind: 'files' }>): string {
  if (where.suffix !== null) return `(?:.*/)?[^/]+${escapeExpression(where.suffix)}`;
  if (where.names === '') return '(?:.*/)?[^/]+';
  const names = where.names
    .replace(/^\^|\$$/g, '')
    .replace(/\(\\\.\|\$\)$/, '')
    .replace(/^\(\?i\)/, '')
    .replace(/(?<!\\)\((?!\?)/g, '(?:'); // fastcgi_split_path_info wants two groups, its own
  return `(?:.*/)?${where.names.startsWith('^') ? '' : '[^/]*'}${names}`;
}

/** @param path What finds the file, without what may stand behind it. */
function runningFiles(mount: Mount, path: string, model: Model, by: 'root' | 'alias'): string[] {
  const { target } = mount;
  if (target.kind === 'nobody') return location(`~ ${expression(`${path}(/|$)`)}`, []);
  const file = by === 'alias' ? '$request_filename' : '$document_root$fastcgi_script_name';
  const isCgi = target.kind === 'file' && target.protocol === 'cgi';
  const known = target.kind === 'class' ? findClass(target.name, model) : undefined;
  const body = [
    ...(by === 'root'
      ? [`fastcgi_split_path_info ${expression(`${path.replace('^', '^(')})(|/.*)$`)};`]
      : []),
    `if (!-f ${file}) { return 404; }`,
    'include fastcgi_params;',
    `fastcgi_param SCRIPT_FILENAME ${file};`,
    ...(by === 'root' ? ['fastcgi_param PATH_INFO $fastcgi_path_info;'] : []),
    ...mount.parameters.map(([name, value]) => `fastcgi_param ${name} ${quote(value)};`),
    ...ownDirectives(known?.options ?? model.dynamic.options),
    target.kind === 'class'
      ? `usher_pass ${quote(target.name)};`
      : `usher_pass ${file}${isCgi ? ' protocol=cgi' : ''};`,
  ];
  return location(`~ ${expression(by === 'root' ? `${path}(/|$)` : `${path}$`)}`, body);
}

function passLines(mount: Mount, model: Model): string[] {
  const { where, target, parameters } = mount;
  const known = target.kind === 'class' ? findClass(target.name, model) : undefined;
  const protocol = optionValue(known?.options ?? [], 'protocol') ?? 'fastcgi';
  const isApplication = target.kind === 'class' && protocol === 'fastcgi' && !mount.runsFiles;
  const cut = cutOf(where);
  return [
    ...(isApplication && cut !== null
      ? [`fastcgi_split_path_info ${expression(`^(${escapeExpression(cut)})(.*)$`)};`]
      : []),
    'include fastcgi_params;',
    ...(isApplication && cut !== null ? ['fastcgi_param PATH_INFO $fastcgi_path_info;'] : []),
    ...(mount.runsFiles
      ? ['fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;']
      : []),
    ...(target.kind === 'class' && target.name.startsWith('/')
      ? [`fastcgi_param SCRIPT_FILENAME ${quote(target.name)};`]
      : []),
    ...(protocol === 'cgi' ? ['fastcgi_param SCRIPT_NAME "";'] : []),
    ...parameters.map(([name, value]) => `fastcgi_param ${name} ${quote(value)};`),
    ...ownDirectives(known?.options ?? model.dynamic.options),
    target.kind === 'class'
      ? `usher_pass ${quote(target.name)};`
      : `usher_pass $document_root$fastcgi_script_name${target.kind === 'file' && target.protocol === 'cgi' ? ' protocol=cgi' : ''};`,
  ];
}

/** What is an option for httpd and a directive of nginx's own. */
function ownDirectives(options: readonly Option[]): string[] {
  const idle = optionValue(options, 'idle-timeout');
  const time = idle === null ? null : /^\d+$/.test(idle) ? `${idle}s` : idle;
  return [
    ...(time === null ? [] : [`fastcgi_read_timeout ${time};`, `fastcgi_send_timeout ${time};`]),
    ...(hasOption(options, 'flush') ? ['fastcgi_buffering off;'] : []),
  ];
}

function findClass(name: string, { classes }: Model): ProgramClass | undefined {
  return classes.find((one) => one.name === name);
}

function location(match: string, body: readonly string[]): string[] {
  return [`location ${match} {`, ...indent(body), '}'];
}

function expression(text: string): string {
  return `"${text.replace(/\\(?=["\\trn])|"/g, '\\$&')}"`;
}
