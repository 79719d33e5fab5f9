// SPDX-License-Identifier: Apache-2.0
// What a web server's configuration says of Usher, each with its place; read with the parsers of
// ts/migrate.
import {
  type ApacheDirective,
  type ApacheFile,
  type ApacheNode,
  moduleName,
  parseApache,
} from '../migrate/apache-syntax.ts';
import type { ServerKind } from '../migrate/model.ts';
import {
  flatten,
  type NginxDirective,
  type NginxFile,
  parseNginx,
} from '../migrate/nginx-syntax.ts';
import { type Files, lineAt, type Source } from '../migrate/source.ts';

export interface Placed {
  /** file:line. */
  place: string;
}

export interface DirectiveFacts extends Placed {
  name: string;
  words: string[];
}

export interface ClassDirectiveFacts extends Placed {
  scope: 'static' | 'external' | 'dynamic';
  /** '' = dynamic. */
  name: string;
  /** Behind the name, in the server's own spelling. */
  words: string[];
}

export interface ConfigurationFacts {
  kind: ServerKind;
  /** Lines that load Usher's module, and those that would if they were no comment. */
  loads: (Placed & { path: string })[];
  commented: Placed[];
  /** mod_fcgid, mod_fastcgi. */
  rivals: (Placed & { name: string })[];
  /** All of Usher's own, first to last. */
  directives: DirectiveFacts[];
  classes: ClassDirectiveFacts[];
  /** usher_pass, UsherPass, handlers. */
  passes: (Placed & { target: string })[];
  runtimeDir: (Placed & { path: string }) | null;
  mode: (Placed & { name: string }) | null;
  /** Of the workers. */
  user: string | null;
  group: string | null;
  /** worker_connections of nginx; ThreadsPerChild of Apache. */
  connections: number | null;
  /** That loads the process model of Apache: path of the module. */
  mpm: string | null;
  serverRoot: string;
  /** Includes that could not be read. */
  unread: string[];
}

const nginxModule = 'ngx_http_usher_module';

export function readNginxFacts(path: string, files: Files): ConfigurationFacts {
  const file = parseNginx(path, files);
  const all = everyDirective(file.nodes);
  const facts = emptyFacts('nginx', '');
  for (const { name, words, span, unread } of all) {
    const place = `${span.source.path}:${span.line}`;
    if (unread !== null) facts.unread.push(unread);
    const [first = ''] = words;
    if (name === 'load_module' && first.includes(nginxModule))
      facts.loads.push({ place, path: first });
    if (name === 'user') [facts.user = null, facts.group = facts.user] = words;
    if (name === 'worker_connections') facts.connections = Number(first);
    if (name.startsWith('usher_')) noteDirective(facts, { name, words, place });
  }
  const sources = nginxSources(file);
  facts.commented = comments(sources, /^[ \t]*#[ \t]*load_module\s+\S*ngx_http_usher_module\.so/gm);
  return facts;
}

function everyDirective(nodes: readonly NginxDirective[]): NginxDirective[] {
  return flatten(nodes).flatMap((node) => [node, ...everyDirective(node.children ?? [])]);
}

function nginxSources({ source, nodes }: NginxFile): Source[] {
  const inside = (all: readonly NginxDirective[]): Source[] =>
    all.flatMap(({ files, children }) => [
      ...(files ?? []).flatMap(nginxSources),
      ...inside(children ?? []),
    ]);
  return [source, ...inside(nodes)];
}

/** @param defines As -D of httpd. @param env What ${NAME} means. */
export function readApacheFacts(
  path: string,
  files: Files,
  { serverRoot, defines, env }: ApacheReadingSettings,
): ConfigurationFacts {
  const configuration = parseApache(path, files, {
    ...(serverRoot === null ? {} : { serverRoot }),
    defines,
    env,
  });
  const facts = emptyFacts('apache', configuration.serverRoot);
  for (const node of everyNode(configuration.file.nodes)) noteApache(facts, node);
  const sources = apacheSources(configuration.file);
  facts.commented = comments(sources, /^[ \t]*#[ \t]*LoadModule\s+usher_module\b/gim);
  return facts;
}

export interface ApacheReadingSettings {
  serverRoot: string | null;
  defines: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

function noteApache(facts: ConfigurationFacts, node: ApacheDirective | { unread: string }): void {
  if (!('kind' in node)) {
    facts.unread.push(node.unread);
    return;
  }
  const place = `${node.span.source.path}:${node.span.line}`;
  const { words } = node;
  const [first = '', second = ''] = words;
  const name = node.name.toLowerCase();
  const number = Number(first);
  if (name === 'loadmodule') noteModule(facts, { name: moduleName(first), path: second, place });
  else if (name === 'user') facts.user = first;
  else if (name === 'group') facts.group = first;
  else if (name === 'threadsperchild' && number > 0) facts.connections = number;
  else if (name === 'sethandler' || name === 'addhandler') noteHandler(facts, first, place);
  else if (isOurs.test(name)) noteDirective(facts, { name: node.name, words, place });
}

const isOurs =
  /^(usher|appclass$|externalappclass$|fcgiconfig$|fastcgi(external)?server$|fastcgiconfig$)/;

function noteModule(
  facts: ConfigurationFacts,
  { name, path, place }: { name: string; path: string; place: string },
): void {
  if (name === 'usher') facts.loads.push({ place, path });
  if (name === 'fcgid' || name === 'fastcgi') facts.rivals.push({ place, name: `mod_${name}` });
  if (name.startsWith('mpm_')) facts.mpm = `${name}_module ${path}`;
}

function noteHandler(facts: ConfigurationFacts, handler: string, place: string): void {
  if (!/^(fastcgi-script|usher-cgi|fcgid-script)$/.test(handler)) return;
  facts.passes.push({ place, target: handler });
}

type SpannedUnread = { unread: string };

function everyNode(nodes: readonly ApacheNode[]): (ApacheDirective | SpannedUnread)[] {
  return nodes.flatMap((node): (ApacheDirective | SpannedUnread)[] => {
    if (node.kind === 'directive') return [node];
    if (node.kind === 'section') return node.isActive ? everyNode(node.children) : [];
    const inside = node.files.flatMap((file) => everyNode(file.nodes));
    return node.unread === null ? inside : [...inside, { unread: node.unread }];
  });
}

function apacheSources({ source, nodes }: ApacheFile): Source[] {
  const inside = (all: readonly ApacheNode[]): Source[] =>
    all.flatMap((node) => {
      if (node.kind === 'include') return node.files.flatMap(apacheSources);
      return node.kind === 'section' ? inside(node.children) : [];
    });
  return [source, ...inside(nodes)];
}

function noteDirective(facts: ConfigurationFacts, directive: DirectiveFacts): void {
  facts.directives.push(directive);
  const { place, words } = directive;
  const [first = '', ...rest] = words;
  switch (directive.name.toLowerCase()) {
    case 'usher_app':
    case 'appclass':
    case 'fastcgiserver':
      facts.classes.push({ scope: 'static', name: first, words: rest, place });
      break;
    case 'usher_external_app':
    case 'externalappclass':
    case 'fastcgiexternalserver':
      facts.classes.push({ scope: 'external', name: first, words: rest, place });
      break;
    case 'usher_config':
    case 'fcgiconfig':
    case 'fastcgiconfig':
      facts.classes.push({ scope: 'dynamic', name: '', words, place });
      break;
    case 'usher_runtime_dir':
    case 'usherruntimedir':
      facts.runtimeDir = { place, path: first.replace(/(.)\/+$/, '$1') };
      break;
    case 'usher_manager':
    case 'ushermanager':
      facts.mode = { place, name: first.toLowerCase() };
      break;
    case 'usher_pass':
    case 'usherpass':
      facts.passes.push({ place, target: first });
      break;
  }
}

function comments(sources: readonly Source[], pattern: RegExp): Placed[] {
  return sources.flatMap(({ path, text }) =>
    [...text.matchAll(pattern)].map(({ index }) => ({ place: `${path}:${lineAt(text, index)}` })),
  );
}

export function emptyFacts(kind: ServerKind, serverRoot: string): ConfigurationFacts {
  return {
    ...{ kind, serverRoot, loads: [], commented: [], rivals: [], directives: [], classes: [] },
    ...{ passes: [], runtimeDir: null, mode: null, user: null, group: null, connections: null },
    ...{ mpm: null, unread: [] },
  };
}

/** Does it say anything of Usher? */
export function usesUsher({ loads, directives }: ConfigurationFacts): boolean {
  return loads.length > 0 || directives.length > 0;
}
