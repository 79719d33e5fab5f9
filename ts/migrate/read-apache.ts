// SPDX-License-Identifier: Apache-2.0
// httpd.conf to the model: walks through its sections, hands each module's directives to its reader,
// and finds out which files and URLs go to which program, as httpd merges its sections.
import { resolve } from 'node:path';
import {
  ApacheReading,
  chain,
  directoryOf,
  effectiveHandlers,
  effectiveWrapper,
  type Handler,
  type Scope,
} from './apache-reading.ts';
import type {
  ApacheConfiguration,
  ApacheDirective,
  ApacheInclude,
  ApacheNode,
  ApacheSection,
} from './apache-syntax.ts';
import { moduleName } from './apache-syntax.ts';
import { type Draft, newHost } from './draft.ts';
import type { Host, Mount, Target } from './model.ts';
import { isFastcgi, readFastcgi } from './read-fastcgi.ts';
import { fcgidName, finishFcgid, readFcgid, wrapperClass } from './read-fcgid.ts';
import { finishJk, isJk, readJk } from './read-jk.ts';
import { finishJserv, isJserv, readJserv } from './read-jserv.ts';
import { finishProxy, isProxy, proxyHandlerClass, readProxy } from './read-proxy.ts';
import type { Edits } from './rewrite.ts';
import { escapeExpression, type Files, globExpression, type Span } from './source.ts';
import type { Starter } from './starters.ts';
import { writeMount } from './write-apache.ts';
import { indent } from './write-classes.ts';

/** Modules whose LoadModule Usher's takes the place of. */
const replacedModules = new Set(['fcgid', 'fastcgi', 'jk', 'jserv']);

export interface ApacheResult {
  /** Where class definitions are best put; null = at the begin of the file. */
  classesAt: Span | null;
  hasLoadModule: boolean;
}

export function readApache(
  configuration: ApacheConfiguration,
  draft: Draft,
  edits: Edits,
  files: Files,
  starters: readonly Starter[],
  modulePath: string,
): ApacheResult {
  const main = newHost(null);
  draft.model.hosts.push(main);
  const reading = new ApacheReading(configuration, draft, edits, files, starters, main);
  const walker = new Walker(reading, modulePath);
  walker.walk(configuration.file.nodes, newScope('server', '', null, main, null));
  walker.finish();
  return { classesAt: walker.classesAt, hasLoadModule: walker.hasLoadModule };
}

function newScope(
  kind: Scope['kind'],
  subject: string,
  parent: Scope | null,
  host: Host,
  section: ApacheSection | null,
): Scope {
  return {
    ...{ kind, subject, parent, host, section, handlers: new Map(), wrappers: [] },
    ...{ actions: new Map(), owner: null, fcgid: new Map() },
  };
}

const notOurs = 'not about programs: write it for nginx by hand';

const transparent = new Set([
  'ifmodule',
  'ifdefine',
  'ifversion',
  'iffile',
  'ifdirective',
  'ifsection',
]);

class Walker {
  classesAt: Span | null = null;
  hasLoadModule = false;
  readonly #reading: ApacheReading;
  readonly #modulePath: string;
  #server: Scope | null = null;
  #usesFiles = false;
  readonly #ports: string[] = [];

  constructor(reading: ApacheReading, modulePath: string) {
    this.#reading = reading;
    this.#modulePath = modulePath;
  }

  walk(nodes: readonly ApacheNode[], scope: Scope): void {
    if (scope.kind === 'server' && this.#server === null) {
      this.#server = scope;
      this.#reading.scopes.push(scope);
    }
    for (const node of nodes) {
      if (node.kind === 'include') this.#include(node, scope);
      else if (node.kind === 'section') this.#section(node, scope);
      else this.#directive(node, scope);
    }
  }

  #include(node: ApacheInclude, scope: Scope): void {
    const { draft } = this.#reading;
    if (node.unread !== null)
      draft.note('none', node.span, `cannot read ${node.unread}: not looked into`);
    for (const file of node.files) this.walk(file.nodes, scope);
  }

  #section(node: ApacheSection, scope: Scope): void {
    const name = node.name.toLowerCase();
    if (name === 'ifmodule') this.#ifModule(node);
    if (!node.isActive) {
      this.#reading.draft.note('kept', node.span, 'the condition does not hold: not looked into');
      return;
    }
    if (transparent.has(name)) {
      this.walk(node.children, scope);
      return;
    }
    const inner = this.#scopeOf(node, name, scope);
    this.#reading.scopes.push(inner);
    if (name === 'proxy' || name === 'proxymatch') {
      for (const child of node.children) {
        if (child.kind === 'directive') readProxy(this.#reading, child, inner, node.words[0] ?? '');
      }
      return;
    }
    this.walk(node.children, inner);
  }

  /** <IfModule mod_fcgid.c> is about a module that will not be there. */
  #ifModule(node: ApacheSection): void {
    const [word = ''] = node.words;
    const name = moduleName(word.replace(/^!/, ''));
    if (!replacedModules.has(name)) return;
    const text = node.span.source.text.slice(node.span.start, node.span.end);
    this.#reading.edits.replace(
      node.span,
      text.replace(word, `${word.startsWith('!') ? '!' : ''}mod_usher.c`),
    );
    this.#reading.draft.note('taken', node.span, '<IfModule mod_usher.c>');
  }

  #scopeOf(node: ApacheSection, name: string, scope: Scope): Scope {
    const { configuration, draft } = this.#reading;
    const isExpression = node.words[0] === '~';
    const subject = (isExpression ? node.words[1] : node.words[0]) ?? '';
    const at = (kind: Scope['kind'], text: string): Scope =>
      newScope(kind, text, scope, scope.host, node);
    switch (name) {
      case 'virtualhost': {
        const host = newHost(node.span);
        host.listens = node.words.map(listenOf);
        draft.model.hosts.push(host);
        return newScope('host', node.args, scope, host, node);
      }
      case 'directory':
        if (isExpression || /[*?[]/.test(subject)) return at('other', subject);
        return at('directory', resolve(configuration.serverRoot, subject));
      case 'location':
        if (isExpression) return at('expression', subject);
        if (/[*?[]/.test(subject)) return at('expression', `^${globExpression(subject)}$`);
        return at('location', subject);
      case 'locationmatch':
        return at('expression', subject);
      case 'files':
        return at('files', isExpression ? subject : `^${globExpression(subject)}$`);
      case 'filesmatch':
        return at('files', subject);
      default:
        return at('other', subject);
    }
  }

  #directive(node: ApacheDirective, scope: Scope): void {
    const reading = this.#reading;
    const name = node.name.toLowerCase();
    if (fcgidName(name) !== null) readFcgid(reading, node, scope);
    else if (isFastcgi(name)) readFastcgi(reading, node, scope);
    else if (isJk(name)) readJk(reading, node, scope);
    else if (isJserv(name)) readJserv(reading, node, scope);
    else if (isProxy(name)) readProxy(reading, node, scope, null);
    else this.#own(node, name, scope);
  }

  /** Directives of httpd itself. */
  #own(node: ApacheDirective, name: string, scope: Scope): void {
    const { draft } = this.#reading;
    const { host } = scope;
    const [first = '', ...rest] = node.words;
    const translated = (text: string): void => {
      if (!draft.isSameServer) draft.note('taken', node.span, text);
    };
    switch (name) {
      case 'loadmodule':
        this.#loadModule(node, moduleName(first));
        return;
      case 'addhandler':
        for (const suffix of rest) {
          scope.handlers.set(suffix.startsWith('.') ? suffix : `.${suffix}`, { name: first, node });
        }
        return;
      case 'sethandler':
        scope.handlers.set('', { name: first, node });
        return;
      case 'action':
        scope.actions.set(first.toLowerCase(), node);
        return;
      case 'suexecusergroup':
        scope.owner = [first.replace(/^#/, ''), (rest[0] ?? '').replace(/^#/, '')];
        translated('user and group of the host’s wrappers');
        return;
      case 'documentroot':
        host.root = resolve(this.#reading.configuration.serverRoot, first);
        translated(`root ${host.root}`);
        return;
      case 'directoryindex':
        host.indexes = node.words;
        translated(`index ${node.words.join(' ')}`);
        return;
      case 'servername':
        host.names.unshift(first.replace(/^https?:\/\//, '').replace(/:\d+$/, ''));
        translated('server_name');
        return;
      case 'serveralias':
        host.names.push(...node.words);
        translated('server_name');
        return;
      case 'listen':
        this.#ports.push(listenOf(first));
        translated('listen, where no <VirtualHost> says it');
        return;
      case 'alias':
      case 'scriptalias':
        this.#alias(node, name === 'scriptalias', scope);
        return;
      case 'limitrequestbody':
        host.maxBodyBytes = Number(first) || null;
        translated('client_max_body_size');
        return;
      case 'sslengine':
      case 'sslcertificatefile':
      case 'sslcertificatekeyfile':
        if (first.toLowerCase() !== 'off') readTls(host, name, first);
        translated('listen … ssl, ssl_certificate, ssl_certificate_key');
        return;
      default:
        scopeSettings(node, name, draft);
    }
  }

  #loadModule(node: ApacheDirective, name: string): void {
    const reading = this.#reading;
    if (name === 'usher') {
      this.hasLoadModule = true;
    } else if (replacedModules.has(name)) {
      if (this.hasLoadModule) reading.remove(node);
      else reading.replace(node, [`LoadModule usher_module ${this.#modulePath}`]);
      this.hasLoadModule = true;
      this.classesAt ??= node.span;
      reading.taken(
        node,
        reading.draft.isSameServer ? 'Usher’s module is loaded in its place' : 'not needed',
      );
    } else if (reading.draft.isSameServer && /^proxy_(fcgi|ajp)$/.test(name)) {
      reading.draft.note(
        'kept',
        node.span,
        'not needed for what went to Usher; take it out when nothing else uses it',
      );
      this.classesAt ??= node.span;
    }
  }

  #alias(node: ApacheDirective, isScript: boolean, scope: Scope): void {
    const { draft } = this.#reading;
    const [url = '', path = ''] = node.words;
    if (scope.kind !== 'server' && scope.kind !== 'host') return;
    scope.host.aliases.push({ url, path: resolve(this.#reading.configuration.serverRoot, path) });
    if (!draft.isSameServer) draft.note('taken', node.span, `location ${url}`);
    if (!isScript) return;
    const directory = newScope(
      'directory',
      resolve(this.#reading.configuration.serverRoot, path),
      scope,
      scope.host,
      null,
    );
    directory.handlers.set('', { name: 'cgi-script', node });
    this.#reading.scopes.push(directory);
  }

  // ---- what holds where

  finish(): void {
    const reading = this.#reading;
    for (const scope of reading.scopes) this.#fileMounts(scope);
    this.#classesOfPaths();
    finishProxy(reading);
    finishJk(reading);
    finishJserv(reading);
    if (this.#server !== null) finishFcgid(reading, this.#server, this.#usesFiles);
    this.#unusedWrappers();
    this.#urlMounts();
    this.#hosts();
    if (!reading.draft.isSameServer) this.#remarkRest(reading.configuration.file.nodes);
  }

  /** Where the server changes nothing is left without a word. */
  #remarkRest(nodes: readonly ApacheNode[]): void {
    const { draft } = this.#reading;
    for (const node of nodes) {
      if (node.kind === 'include') {
        for (const file of node.files) this.#remarkRest(file.nodes);
      } else if (node.kind === 'directive') {
        if (!draft.isNoted(node.span)) draft.note('none', node.span, notOurs);
      } else if (node.isActive) {
        this.#remarkRest(node.children);
      }
    }
  }

  /** Handlers and wrappers of one scope, where it says something itself. */
  #fileMounts(scope: Scope): void {
    const { scopes } = this.#reading;
    if (scope.handlers.size === 0 && scope.wrappers.length === 0) return;
    const anchors = new Map<ApacheDirective, string[]>();
    for (const [suffix, handler] of effectiveHandlers(scope, scopes)) {
      const isOwn = scope.handlers.get(suffix) === handler || scope.wrappers.length > 0;
      if (!isOwn) continue;
      const mount = this.#mountOf(scope, suffix, handler);
      if (mount === null) continue;
      scope.host.mounts.push(mount);
      const anchor =
        scope.handlers.get(suffix) === handler ? handler.node : scope.wrappers[0]?.node;
      if (anchor === undefined) continue;
      anchors.set(anchor, [...(anchors.get(anchor) ?? []), ...insideScope(mount, scope)]);
    }
    for (const { node } of scope.wrappers) if (!anchors.has(node)) this.#reading.remove(node);
    for (const [node, lines] of anchors) {
      const others = keptHandlers(node, scope);
      this.#reading.replace(node, [...others, ...lines]);
    }
  }

  #mountOf(scope: Scope, suffix: string, handler: Handler): Mount | null {
    const target = this.#targetOf(scope, suffix, handler);
    if (target === null) return null;
    const isFile = target.target.kind === 'file';
    if (isFile) this.#usesFiles = true;
    return {
      where: whereOf(scope, suffix),
      target: target.target,
      runsFiles: target.runsFiles,
      parameters: [],
      sources: [handler.node.span],
    };
  }

  #targetOf(
    scope: Scope,
    suffix: string,
    { name, node }: Handler,
  ): { target: Target; runsFiles: boolean } | null {
    const reading = this.#reading;
    const lower = name.toLowerCase();
    if (lower === 'fcgid-script') {
      const wrapper = effectiveWrapper(scope, reading.scopes, suffix);
      if (wrapper !== null) {
        const made = wrapperClass(reading, wrapper, scope, [node.span]);
        if (wrapper.isVirtual && scope.kind !== 'location' && scope.kind !== 'expression')
          reading.changed(
            wrapper.node,
            'virtual: in sections of files a missing one is 404; use <Location> where the URL is no file',
          );
        if (suffix !== '' && reading.draft.isSameServer)
          reading.taken(node, `files ${suffix} go to ${made.name}`);
        else reading.taken(node, `goes to ${made.name}`);
        return { target: { kind: 'class', name: made.name }, runsFiles: !wrapper.isVirtual };
      }
    }
    if (lower === 'fcgid-script' || lower === 'fastcgi-script') {
      reading.taken(
        node,
        'each file is a program, started at its first request (it needs Options ExecCGI or a ScriptAlias)',
      );
      return { target: { kind: 'file', protocol: 'fastcgi' }, runsFiles: true };
    }
    if (lower === 'cgi-script' && !reading.draft.isSameServer) {
      reading.changed(
        node,
        'CGI programs: nginx has none of its own, Usher runs them (protocol=cgi)',
      );
      return { target: { kind: 'file', protocol: 'cgi' }, runsFiles: true };
    }
    if (lower.startsWith('proxy:')) {
      const made = proxyHandlerClass(reading, node, name);
      return made === null ? null : { target: { kind: 'class', name: made }, runsFiles: true };
    }
    return this.#actionTarget(scope, lower, node);
  }

  /** AddHandler NAME + Action NAME /url + Alias /url /path + FastCgiServer /path: PHP behind mod_fastcgi. */
  #actionTarget(
    scope: Scope,
    handler: string,
    node: ApacheDirective,
  ): { target: Target; runsFiles: boolean } | null {
    const reading = this.#reading;
    const action = chain(scope, reading.scopes)
      .map((one) => one.actions.get(handler))
      .filter((one) => one !== undefined)
      .at(-1);
    if (action === undefined) return null;
    const path = pathOf(action.words[1] ?? '', [scope.host, reading.main]);
    const known = reading.draft.model.classes.find((one) => one.name === path);
    if (known === undefined) return null;
    const short = reading.draft.freeName(known.name.split('/').at(-1) ?? 'app');
    if (!known.options.some(([name]) => name === 'command') && known.kind === 'static') {
      known.options.unshift(['command', known.name]);
    }
    for (const host of [scope.host, reading.main]) {
      host.aliases = host.aliases.filter((alias) => alias.path !== known.name);
    }
    known.name = short;
    reading.taken(node, `files go to ${short}`);
    reading.changed(
      action,
      `${short} is asked for the file itself: SCRIPT_FILENAME is the file, not the program`,
    );
    reading.remove(action);
    return { target: { kind: 'class', name: short }, runsFiles: true };
  }

  /** A file that is the path of a class needs no handler: nginx needs a location. */
  #classesOfPaths(): void {
    const { draft } = this.#reading;
    for (const { name, sources } of draft.model.classes) {
      if (!name.startsWith('/')) continue;
      for (const host of draft.model.hosts) {
        const url =
          urlOf(name, host) ?? (host.span === null ? null : urlOf(name, this.#reading.main));
        if (url === null) continue;
        const target: Target = { kind: 'class', name };
        host.mounts.push({
          where: { kind: 'path', path: url },
          target,
          runsFiles: false,
          parameters: [],
          sources,
        });
        host.aliases = host.aliases.filter((alias) => alias.path !== name);
      }
    }
  }

  #unusedWrappers(): void {
    const reading = this.#reading;
    for (const scope of reading.scopes) {
      for (const wrapper of scope.wrappers) {
        if (reading.draft.isNoted(wrapper.node.span)) continue;
        const made = wrapperClass(reading, wrapper, scope, []);
        reading.changed(
          wrapper.node,
          `no handler fcgid-script here sends anything to it; a .htaccess that does must say SetHandler, in a section with UsherPass ${made.name}`,
        );
      }
    }
  }

  /** Each host's together, where its last one stood: of sections that fit the last one holds. */
  #urlMounts(): void {
    const { urlMounts, draft } = this.#reading;
    for (const host of draft.model.hosts) {
      const own = urlMounts.filter((one) => one.host === host);
      host.mounts.push(...own.map(({ mount }) => mount));
      const replaced = own.filter(({ isKept }) => !isKept).map(({ node }) => node);
      const last = replaced.at(-1);
      const lines = [...own].reverse().flatMap(({ mount }) => writeMount(mount));
      for (const node of new Set(replaced)) if (node !== last) this.#reading.remove(node);
      if (last !== undefined) this.#reading.replace(last, lines);
    }
  }

  #hosts(): void {
    const { model } = this.#reading.draft;
    const { main } = this.#reading;
    main.listens = this.#ports;
    const others = model.hosts.filter((host) => host !== main);
    if (others.length === 0) return;
    for (const host of others) {
      host.root ??= main.root;
      if (host.indexes.length === 0) host.indexes = main.indexes;
      host.aliases.push(
        ...main.aliases.filter(({ url }) => !host.aliases.some((one) => one.url === url)),
      );
      host.mounts.push(...main.mounts.filter((mount) => this.#holdsIn(host, mount)));
      host.maxBodyBytes ??= main.maxBodyBytes;
    }
    model.hosts = others;
  }

  /** JkMount of the main server does not hold in virtual hosts, unless JkMountCopy says so. */
  #holdsIn(host: Host, mount: Mount): boolean {
    const { urlMounts, copies, copiesToAll, draft } = this.#reading;
    const own = urlMounts.find(
      (one) => one.mount === mount && /^jk(un)?mount/i.test(one.node.name),
    );
    if (own === undefined || copiesToAll || copies.has(host)) return true;
    if (draft.to === 'apache') {
      this.#reading.changed(
        own.node,
        'holds in virtual hosts as well, as sections of the main server do; mod_jk wants JkMountCopy for that',
      );
    }
    return false;
  }
}

/** What AddHandler says of suffixes besides, as it was. */
function keptHandlers(node: ApacheDirective, scope: Scope): string[] {
  if (node.name.toLowerCase() !== 'addhandler') return [];
  const handler = node.words[0] ?? '';
  const left = node.words.slice(1).filter((suffix) => {
    const own = scope.handlers.get(suffix.startsWith('.') ? suffix : `.${suffix}`);
    return own === undefined;
  });
  return left.length === 0 ? [] : [`AddHandler ${handler} ${left.join(' ')}`];
}

/** The lines of a mount inside of its own section. */
function insideScope(mount: Mount, scope: Scope): string[] {
  const { where, target } = mount;
  if (target.kind === 'file') {
    const suffix = where.kind === 'files' ? where.suffix : null;
    const handler = target.protocol === 'cgi' ? 'usher-cgi' : 'fastcgi-script';
    return [suffix === null ? `SetHandler ${handler}` : `AddHandler ${handler} ${suffix}`];
  }
  const isWholeScope = where.kind !== 'files' || where.suffix === null;
  const pass = target.kind === 'class' ? `UsherPass "${target.name}"` : 'UsherPass none';
  if (isWholeScope && scope.kind !== 'server' && scope.kind !== 'host') return [pass];
  if (where.kind !== 'files') return writeMount(mount);
  if (where.names === '') return ['<Location "/">', ...indent([pass]), '</Location>'];
  return [`<FilesMatch "${where.names}">`, ...indent([pass]), '</FilesMatch>'];
}

function whereOf(scope: Scope, suffix: string): Mount['where'] {
  if (scope.kind === 'location') {
    return { kind: 'path', path: scope.subject.replace(/\/+$/, '') };
  }
  if (scope.kind === 'expression') {
    return { kind: 'expression', expression: scope.subject, ignoresCase: false };
  }
  const directory = directoryOf(scope);
  if (suffix !== '') {
    // mod_mime looks at every suffix of a name, without regard to case.
    const names = `(?i)${escapeExpression(suffix)}(\\.|$)`;
    return { kind: 'files', directory, suffix, names };
  }
  return {
    kind: 'files',
    directory,
    suffix: null,
    names: scope.kind === 'files' ? scope.subject : '',
  };
}

/** The file that a URL means, by aliases and document root. */
function pathOf(url: string, hosts: readonly Host[]): string | null {
  for (const { aliases } of hosts) {
    const alias = aliases.find(
      (one) => url === one.url || url.startsWith(`${one.url.replace(/\/+$/, '')}/`),
    );
    if (alias !== undefined) return `${alias.path}${url.slice(alias.url.length)}`;
  }
  const root = hosts.find((host) => host.root !== null)?.root;
  return root ? `${root}${url}` : null;
}

function urlOf(path: string, { root, aliases }: Host): string | null {
  for (const alias of aliases) {
    const base = alias.path.replace(/\/+$/, '');
    if (path === base || path.startsWith(`${base}/`)) {
      return `${alias.url.replace(/\/+$/, '')}${path.slice(base.length)}`;
    }
  }
  if (root !== null && path.startsWith(`${root.replace(/\/+$/, '')}/`))
    return path.slice(root.replace(/\/+$/, '').length);
  return null;
}

function listenOf(address: string): string {
  const text = address.replace(/^(\*|_default_):?/, '');
  return text === '' ? '80' : text;
}

function readTls(host: Host, name: string, value: string): void {
  host.tls ??= { certificate: null, key: null };
  if (name === 'sslcertificatefile') host.tls.certificate = value;
  if (name === 'sslcertificatekeyfile') host.tls.key = value;
}

/** Others are said to be nothing of ours, where the server changes. */
function scopeSettings(node: ApacheDirective, name: string, draft: Draft): void {
  if (draft.isSameServer) return;
  const silent: Record<string, string> = {
    require: 'nginx serves what nobody denies: allow, deny, auth_basic',
    options: 'ExecCGI has no counterpart: locations say what runs',
    serverroot: 'paths are written out',
    define: 'variables are replaced',
    user: 'user of nginx.conf',
    group: 'user of nginx.conf',
  };
  draft.note('none', node.span, silent[name] ?? notOurs);
}
