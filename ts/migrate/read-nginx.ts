// SPDX-License-Identifier: Apache-2.0
// nginx.conf to the model: fastcgi_pass, upstreams, and how the programs behind them are started.
import { type Draft, nameFor, newHost } from './draft.ts';
import type { Alias, Host, Mount, Option, ProgramClass } from './model.ts';
import { inherited, type Level, parameter } from './nginx-levels.ts';
import { flatten, type NginxDirective, type NginxFile } from './nginx-syntax.ts';
import { nginxLocation, remarkForApache } from './read-locations.ts';
import type { Edits } from './rewrite.ts';
import type { Source } from './source.ts';
import { findStarter, normalAddress, type Starter } from './starters.ts';
import { quote } from './write-classes.ts';

export interface NginxResult {
  /** Where class definitions belong: behind the brace of http, or the begin of a fragment. */
  classesAt: { source: Source; offset: number };
  hasHttp: boolean;
  hasLoadModule: boolean;
}

export function readNginx(
  file: NginxFile,
  draft: Draft,
  edits: Edits,
  starters: readonly Starter[],
): NginxResult {
  const all = flatten(file.nodes);
  for (const node of all) {
    if (node.unread !== null)
      draft.note('none', node.span, `cannot read ${node.unread}: not looked into`);
  }
  const http = all.find(({ name }) => name === 'http');
  const level = http?.children ? flatten(http.children) : all;
  const reader = new NginxReader(draft, edits, starters, level);
  for (const server of level.filter(({ name }) => name === 'server')) reader.server(server);
  const loose = level.filter(({ name }) => name === 'location');
  if (loose.length > 0) reader.fragment(loose);
  reader.finish(http === undefined ? all : [...all, ...level]);
  const hasLoadModule = all.some(
    ({ name, words }) => name === 'load_module' && /usher/.test(words[0] ?? ''),
  );
  const classesAt = http === undefined ? { source: file.source, offset: 0 } : behindBrace(http);
  return { classesAt, hasHttp: http !== undefined, hasLoadModule };
}

function behindBrace({ head }: NginxDirective): { source: Source; offset: number } {
  return { source: head.source, offset: head.source.text.indexOf('{', head.end) + 1 };
}

class NginxReader {
  readonly #draft: Draft;
  readonly #edits: Edits;
  readonly #starters: readonly Starter[];
  readonly #http: Level;
  readonly #upstreams: Map<string, NginxDirective>;
  /** Upstreams whose every fastcgi_pass has become a usher_pass. */
  readonly #replaced = new Set<string>();
  readonly #stayed = new Set<string>();

  constructor(
    draft: Draft,
    edits: Edits,
    starters: readonly Starter[],
    level: readonly NginxDirective[],
  ) {
    this.#draft = draft;
    this.#edits = edits;
    this.#starters = starters;
    this.#http = { nodes: level, outer: null };
    this.#upstreams = new Map(
      level.filter(({ name }) => name === 'upstream').map((node) => [node.words[0] ?? '', node]),
    );
  }

  server(node: NginxDirective): void {
    const host = newHost(node.head);
    const nodes = flatten(node.children ?? []);
    this.#host(host, nodes);
    const level: Level = { nodes, outer: this.#http };
    for (const child of nodes) this.#location(child, level, host);
    this.#draft.model.hosts.push(host);
  }

  /** Locations without a server: a file that one includes. */
  fragment(nodes: readonly NginxDirective[]): void {
    const host = newHost(null);
    const level: Level = { nodes, outer: this.#http };
    for (const node of nodes) this.#location(node, level, host);
    this.#draft.model.hosts.push(host);
  }

  #host(host: Host, nodes: readonly NginxDirective[]): void {
    const level: Level = { nodes, outer: this.#http };
    const all = (name: string): string[][] =>
      nodes.filter((node) => node.name === name).map(({ words }) => words);
    host.listens = all('listen').map((words) => words.join(' '));
    host.names = all('server_name').flat();
    host.root = inherited(level, 'root')?.words[0] ?? null;
    host.indexes = inherited(level, 'index')?.words ?? [];
    const isTls = host.listens.some((listen) => / ssl\b/.test(listen));
    if (isTls) {
      host.tls = {
        certificate: inherited(level, 'ssl_certificate')?.words[0] ?? null,
        key: inherited(level, 'ssl_certificate_key')?.words[0] ?? null,
      };
    }
  }

  #location(node: NginxDirective, outer: Level, host: Host): void {
    if (node.children === null || !['location', 'if', 'limit_except'].includes(node.name)) return;
    const nodes = flatten(node.children);
    const level: Level = { nodes, outer };
    for (const child of nodes) {
      if (child.name === 'fastcgi_pass') this.#pass(child, node, level, host);
      else this.#location(child, level, host);
    }
    const path = node.words.length === 1 && node.words[0]?.startsWith('/') ? node.words[0] : null;
    const alias = nodes.find(({ name }) => name === 'alias')?.words[0];
    if (path !== null && alias !== undefined)
      host.aliases.push({ url: path, path: alias } satisfies Alias);
    if (node.name === 'location') nginxLocation(this.#draft, node, level, host);
  }

  #pass(node: NginxDirective, location: NginxDirective, level: Level, host: Host): void {
    const [value = ''] = node.words;
    if (value.includes('$')) {
      this.#draft.note(
        'none',
        node.span,
        'an address with variables: name each class in a location of its own; the line stays as it is',
      );
      return;
    }
    const starter = this.#starterOf(value);
    if (starter?.protocol === 'cgi') {
      this.#cgi(node, location, level, host, starter);
      return;
    }
    const made = this.#classOf(value, node);
    if (made === null) {
      this.#stayed.add(value);
      return;
    }
    this.#replaced.add(value);
    this.#levelOptions(made, level);
    this.#mount(node, location, level, host, made.name, `usher_pass ${quote(made.name)};`);
  }

  #mount(
    node: NginxDirective,
    location: NginxDirective,
    level: Level,
    host: Host,
    name: string,
    text: string,
  ): void {
    this.#draft.note('taken', node.span, `goes to ${name}`);
    this.#edits.replace(node.span, text);
    for (const keep of level.nodes.filter((one) => one.name === 'fastcgi_keep_conn')) {
      this.#edits.replace(keep.span, null);
      this.#draft.note('taken', keep.span, 'an option of the class: keep_conn');
    }
    if (this.#draft.to === 'apache') {
      const mount: Mount = remarkForApache(this.#draft, location, level, host, name, node.span);
      host.mounts.push(mount);
    }
  }

  // ---- fcgiwrap

  #starterOf(value: string): Starter | undefined {
    const members = this.#addresses(value);
    const [first = value] = members;
    const known = members.length <= 1 ? findStarter(this.#starters, first) : undefined;
    if (known !== undefined || !/fcgiwrap/.test(normalAddress(first))) return known;
    const span = { source: { path: '', text: '' }, start: 0, end: 0, line: 1 };
    return { address: first, protocol: 'cgi', name: 'usher-cgi', options: [], span };
  }

  #cgi(
    node: NginxDirective,
    location: NginxDirective,
    level: Level,
    host: Host,
    starter: Starter,
  ): void {
    const script = parameter(level, 'SCRIPT_FILENAME');
    const owner: Option[] = starter.options.filter(([name]) => name !== 'command');
    const sources = starter.span.source.path === '' ? [node.span] : [starter.span, node.span];
    this.#replaced.add(node.words[0] ?? '');
    if (starter.span.source.path === '') {
      this.#draft.note(
        'changed',
        node.span,
        'taken for fcgiwrap by its name: each program runs as a CGI program of Usher (protocol=cgi); end fcgiwrap',
      );
    }
    if (script !== null && !script.includes('$')) {
      const options: Option[] = [
        ['protocol', 'cgi'],
        ['command', script],
        ['on-demand', '4'],
        ...owner,
      ];
      const made = this.#draft.addClass(nameFor(script), 'static', options, sources);
      this.#mount(node, location, level, host, made.name, `usher_pass ${quote(made.name)};`);
      return;
    }
    if (owner.length > 0 && !this.#draft.model.classes.some(({ name }) => name === 'usher-cgi')) {
      this.#draft.addClass(
        'usher-cgi',
        'static',
        [['protocol', 'cgi'], ['on-demand', '4'], ...owner],
        sources,
      );
    }
    const path = script ?? '$document_root$fastcgi_script_name';
    this.#draft.note(
      'changed',
      node.span,
      `the programs must lie below a root (root of nginx.conf, or usher_config dynamic_root=…), and be writable by nobody else`,
    );
    this.#mount(node, location, level, host, 'usher-cgi', `usher_pass ${path} protocol=cgi;`);
  }

  // ---- classes

  #addresses(value: string): string[] {
    const upstream = this.#upstreams.get(value);
    if (upstream === undefined) return [value];
    return flatten(upstream.children ?? [])
      .filter(({ name }) => name === 'server')
      .map(({ words }) => words[0] ?? '');
  }

  #classOf(value: string, node: NginxDirective): ProgramClass | null {
    const started = this.#startedClass(value, node);
    if (started !== null) return started;
    const upstream = this.#upstreams.get(value);
    if (upstream === undefined) return this.#addressClass(value, node);
    return this.#upstreamClass(value, upstream, node);
  }

  /** All its addresses are programs that we know how to start. */
  #startedClass(value: string, node: NginxDirective): ProgramClass | null {
    const starters = this.#addresses(value).map((address) => findStarter(this.#starters, address));
    const [first] = starters;
    if (first === undefined || starters.some((one) => one === undefined)) return null;
    const commands = new Set(starters.map((one) => commandOf(one?.options ?? [])));
    if (commands.size > 1) return null;
    const processes = starters.reduce((sum, one) => sum + processesOf(one?.options ?? []), 0);
    const options = starters.length === 1 ? first.options : withProcesses(first.options, processes);
    const upstream = this.#upstreams.get(value);
    if (upstream !== undefined)
      this.#draft.note('taken', upstream.head, `class ${first.name}, whose programs Usher starts`);
    for (const member of flatten(upstream?.children ?? [])) {
      this.#draft.note(
        'taken',
        member.span,
        member.name === 'server' ? 'started by Usher' : 'Usher’s own sockets',
      );
    }
    return this.#draft.addClass(first.name, 'static', options, [first.span, node.span]);
  }

  #addressClass(value: string, node: NginxDirective): ProgramClass {
    const isSocket = value.startsWith('unix:');
    const address = isSocket ? value.slice('unix:'.length) : hostAddress(value);
    const name = isSocket ? nameFor(address) : `app-${address.replace(/[^\w.-]+/g, '-')}`;
    this.#remarkExternal(node);
    const options: Option[] = [
      [isSocket ? 'socket' : 'host', address],
      ['concurrency', '32'],
    ];
    return this.#draft.addClass(name, 'external', options, [node.span]);
  }

  #remarkExternal({ span }: NginxDirective): void {
    const here = this.#draft.to === 'nginx' ? 'concurrency' : '-concurrency';
    this.#draft.note(
      'changed',
      span,
      `class of an address, whose program somebody else runs; ${here}=32 says how many requests it gets at once (nginx: any number): set it to what the program can do (php-fpm: pm.max_children). To have Usher start it, give its spawn-fcgi command line or pool file as well`,
    );
  }

  #upstreamClass(
    name: string,
    upstream: NginxDirective,
    node: NginxDirective,
  ): ProgramClass | null {
    const nodes = flatten(upstream.children ?? []);
    const members = nodes.filter((one) => one.name === 'server');
    const sockets = members.filter(({ words }) => words[0]?.startsWith('unix:'));
    if (sockets.length > 0 && members.length > 1) {
      this.#draft.note(
        'none',
        upstream.head,
        'a class has one UNIX socket, or hosts: give these programs addresses of host and port, or have Usher start them; its fastcgi_pass stays as it is',
      );
      return null;
    }
    const known = this.#draft.model.classes.find(
      (one) => one.name === name && one.kind === 'external',
    );
    if (known !== undefined) return known;
    const options = members.flatMap((member) => this.#member(member));
    const others = nodes.filter((one) => one.name !== 'server');
    for (const other of others) this.#remarkUpstream(other);
    const limits = members
      .map(({ words }) => Number(wordOf(words, 'max_conns') ?? 0))
      .filter((one) => one > 0);
    options.push(['concurrency', `${limits.length > 0 ? Math.min(...limits) : 32}`]);
    if (limits.length === 0) this.#remarkExternal(node);
    this.#draft.note('taken', upstream.head, `class ${name}`);
    return this.#draft.addClass(name, 'external', options, [upstream.head, node.span]);
  }

  #member(member: NginxDirective): Option[] {
    const { words, span } = member;
    const [address = '', ...parameters] = words;
    for (const word of parameters) {
      const [name] = word.split('=');
      const reasons: Record<string, string> = {
        weight: 'external FastCGI hosts have no weight: the one with the fewest requests is next',
        max_fails: 'the manager looks itself whether a host is there',
        fail_timeout: 'the manager looks itself when a host is back, after 0.2 to 5 s',
        slow_start: 'a host that is back gets requests at once',
      };
      if (reasons[name ?? ''] !== undefined)
        this.#draft.note('none', span, reasons[name ?? ''] ?? '', word);
    }
    if (address.startsWith('unix:')) {
      this.#draft.note('taken', span, 'socket');
      return [['socket', address.slice('unix:'.length)]];
    }
    const kind = parameters.includes('down')
      ? 'down'
      : parameters.includes('backup')
        ? 'backup'
        : 'host';
    this.#draft.note('taken', span, kind);
    return [[kind, hostAddress(address)]];
  }

  #remarkUpstream({ name, span }: NginxDirective): void {
    const texts: Record<string, ['taken' | 'changed' | 'none', string]> = {
      keepalive: [
        'changed',
        'keep_conn of the class keeps connections, where fastcgi_keep_conn is on',
      ],
      least_conn: ['taken', 'as always: the host with the fewest requests'],
      ip_hash: [
        'none',
        'FastCGI hosts are not chosen by client: the one with the fewest requests is next',
      ],
      hash: [
        'none',
        'FastCGI hosts are not chosen by a key: the one with the fewest requests is next',
      ],
      zone: ['taken', 'all workers know the same anyway'],
    };
    const [verdict, text] = texts[name] ?? ['none', 'Usher has nothing like it'];
    this.#draft.note(verdict, span, text);
  }

  /** What nginx says of connections, and Usher of the class. */
  #levelOptions(made: ProgramClass, level: Level): void {
    const keep = inherited(level, 'fastcgi_keep_conn');
    const isKept = keep?.words[0] === 'on' && made.kind === 'external';
    if (isKept && !made.options.some(([name]) => name === 'keep-conn'))
      made.options.push(['keep-conn', true]);
  }

  // ---- what is left

  /** Upstreams that nobody needs any more. */
  finish(all: readonly NginxDirective[]): void {
    for (const [name, node] of this.#upstreams) {
      if (!this.#replaced.has(name) || this.#stayed.has(name)) continue;
      if (isUsedElsewhere(all, name))
        this.#draft.note(
          'kept',
          node.head,
          'something else uses it as well',
          `upstream ${name}, itself`,
        );
      else this.#edits.replace(node.span, null);
    }
  }
}

function isUsedElsewhere(nodes: readonly NginxDirective[], name: string): boolean {
  return nodes.some((node) => {
    const isPass = node.name !== 'fastcgi_pass' && node.name.endsWith('_pass');
    const uses =
      isPass && node.words.some((word) => word.replace(/^\w+:\/\//, '').split('/')[0] === name);
    return uses || (node.children !== null && isUsedElsewhere(flatten(node.children), name));
  });
}

function hostAddress(value: string): string {
  const named = value.replace(/^localhost(?=:|$)/, '127.0.0.1');
  return /:\d+$/.test(named) ? named : `${named}:80`;
}

function wordOf(words: readonly string[], name: string): string | undefined {
  return words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
}

function commandOf(options: readonly Option[]): string {
  return String(options.find(([name]) => name === 'command')?.[1] ?? '');
}

function processesOf(options: readonly Option[]): number {
  return Number(options.find(([name]) => name === 'processes')?.[1] ?? 1);
}

function withProcesses(options: readonly Option[], processes: number): Option[] {
  return options.map(
    (option): Option =>
      option[0] === 'processes' ? ['processes', `${Math.min(256, processes)}`] : option,
  );
}
