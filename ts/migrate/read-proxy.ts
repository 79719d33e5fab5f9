// SPDX-License-Identifier: Apache-2.0
// mod_proxy_fcgi and mod_proxy_ajp: ProxyPass, ProxyPassMatch, SetHandler "proxy:…", balancers. What
// mod_proxy does for other protocols stays with it.

import type { ApacheReading, Scope } from './apache-reading.ts';
import type { ApacheDirective } from './apache-syntax.ts';
import { nameFor } from './draft.ts';
import type { Mount, Option } from './model.ts';
import { fileNames } from './read-locations.ts';
import { findStarter } from './starters.ts';
import { seconds, showTime } from './units.ts';

const names = new Set([
  ...['proxypass', 'proxypassmatch', 'balancermember', 'proxyset', 'proxypassreverse'],
  ...['proxypassreversecookiepath', 'proxypassreversecookiedomain', 'proxyfcgibackendtype'],
  ...['proxyfcgisetenvif', 'proxytimeout', 'proxyiobuffersize'],
]);

export function isProxy(name: string): boolean {
  return names.has(name);
}

interface Address {
  protocol: 'fastcgi' | 'ajp';
  /** host:port or unix:/path. */
  address: string;
  /** Behind host and port. */
  path: string;
}

interface Pass {
  node: ApacheDirective;
  scope: Scope;
  isExpression: boolean;
  from: string;
  to: string;
  parameters: Map<string, string>;
}

interface Member {
  address: Address;
  parameters: Map<string, string>;
  node: ApacheDirective;
}

interface Balancer {
  members: Member[];
  parameters: Map<string, string>;
  nodes: ApacheDirective[];
}

/** <Proxy "fcgi://…">, ProxySet URL …. */
interface Worker {
  parameters: Map<string, string>;
  nodes: ApacheDirective[];
}

interface Pending {
  passes: Pass[];
  balancers: Map<string, Balancer>;
  /** <Proxy "fcgi://…"> ProxySet …: by URL. */
  workers: Map<string, Worker>;
  others: { node: ApacheDirective; scope: Scope }[];
}

/** Of each reading: ProxyPass may stand before its <Proxy balancer://…>. */
const pendingOf = new WeakMap<ApacheReading, Pending>();

function pendings(reading: ApacheReading): Pending {
  const known = pendingOf.get(reading);
  if (known !== undefined) return known;
  const made: Pending = { passes: [], balancers: new Map(), workers: new Map(), others: [] };
  pendingOf.set(reading, made);
  return made;
}

/** @param around The URL of the <Proxy> that it stands in. */
export function readProxy(
  reading: ApacheReading,
  node: ApacheDirective,
  scope: Scope,
  around: string | null,
): void {
  const pending = pendings(reading);
  const name = node.name.toLowerCase();
  if (name === 'balancermember') readMember(node, pending, around);
  else if (name === 'proxyset') readSet(node, pending, around);
  else if (name === 'proxypass' || name === 'proxypassmatch') readPass(node, scope, pending, name);
  else if (isProxy(name)) pending.others.push({ node, scope });
}

function readPass(node: ApacheDirective, scope: Scope, { passes }: Pending, name: string): void {
  const isInside = scope.kind === 'location' || scope.kind === 'expression';
  const words = isInside ? [scope.subject, ...node.words] : node.words;
  const [from = '', to = '', ...more] = words;
  const isExpression = name === 'proxypassmatch' || scope.kind === 'expression';
  passes.push({ node, scope, isExpression, from, to, parameters: parametersOf(more) });
}

function readMember(node: ApacheDirective, pending: Pending, around: string | null): void {
  const words = around === null ? node.words : [around, ...node.words];
  const [balancer = '', url = '', ...more] = words;
  const address = parseAddress(url);
  if (address === null) return;
  const known = balancerOf(pending, balancer);
  known.members.push({ address, parameters: parametersOf(more), node });
  known.nodes.push(node);
}

function readSet(node: ApacheDirective, pending: Pending, around: string | null): void {
  const words = around === null ? node.words : [around, ...node.words];
  const [url = '', ...more] = words;
  if (url.startsWith('balancer://')) {
    const known = balancerOf(pending, url);
    for (const [name, value] of parametersOf(more)) known.parameters.set(name, value);
    known.nodes.push(node);
    return;
  }
  const known: Worker = pending.workers.get(url) ?? { parameters: new Map(), nodes: [] };
  for (const [name, value] of parametersOf(more)) known.parameters.set(name, value);
  known.nodes.push(node);
  pending.workers.set(url, known);
}

/** An address with what ProxyPass and <Proxy> say of it. */
function memberOf(
  reading: ApacheReading,
  url: string,
  address: Address,
  own: ReadonlyMap<string, string>,
  node: ApacheDirective,
): Member {
  const bare = (text: string): string => text.replace(/^.*\|/, '').replace(/\/+$/, '');
  for (const [key, worker] of pendings(reading).workers) {
    if (bare(url) !== bare(key) && !bare(url).startsWith(`${bare(key)}/`)) continue;
    for (const { span } of worker.nodes)
      reading.draft.note('taken', span, 'put in where it is used');
    if (reading.draft.isSameServer) for (const one of worker.nodes) reading.remove(one);
    return { address, parameters: new Map([...worker.parameters, ...own]), node };
  }
  return { address, parameters: new Map(own), node };
}

function balancerOf({ balancers }: Pending, url: string): Balancer {
  const name = url.replace(/^balancer:\/\//, '').replace(/\/.*$/, '');
  const known = balancers.get(name) ?? { members: [], parameters: new Map(), nodes: [] };
  balancers.set(name, known);
  return known;
}

function parametersOf(words: readonly string[]): Map<string, string> {
  const pairs = words.filter((word) => word.includes('='));
  return new Map(
    pairs.map((word) => {
      const at = word.indexOf('=');
      return [word.slice(0, at).toLowerCase(), word.slice(at + 1)] as const;
    }),
  );
}

/** fcgi://h:p/path, unix:/path|fcgi://any/path; null = of another protocol. */
export function parseAddress(url: string): Address | null {
  const [, socket, scheme = '', host = '', path = ''] =
    /^(?:unix:([^|]+)\|)?(fcgi|ajp):(?:\/\/)?([^/]*)(\/.*)?$/i.exec(url) ?? [];
  if (scheme === '') return null;
  const protocol = scheme.toLowerCase() === 'ajp' ? 'ajp' : 'fastcgi';
  const port = protocol === 'ajp' ? 8009 : 8000;
  const named = host.replace(/^localhost(?=:|$)/, '127.0.0.1');
  const address = /:\d+$/.test(named) ? named : `${named === '' ? '127.0.0.1' : named}:${port}`;
  return { protocol, address: socket === undefined ? address : `unix:${socket}`, path };
}

/** SetHandler "proxy:unix:/run/x.sock|fcgi://localhost/": its class; null = of another protocol. */
export function proxyHandlerClass(
  reading: ApacheReading,
  node: ApacheDirective,
  handler: string,
): string | null {
  const url = handler.slice('proxy:'.length);
  if (url.startsWith('balancer://')) {
    const name = balancerClass(reading, url, [], null);
    if (name === null) return null;
    reading.taken(node, `goes to ${name}`);
    return name;
  }
  const address = parseAddress(url);
  if (address === null) return null;
  const member = memberOf(reading, url, address, new Map(), node);
  return addressClass(reading, [member], new Map(), node, null, []);
}

// ---- classes

function addressClass(
  reading: ApacheReading,
  members: readonly Member[],
  balancer: ReadonlyMap<string, string>,
  node: ApacheDirective,
  wanted: string | null,
  context: readonly Option[],
): string {
  const { draft } = reading;
  const [first] = members;
  const protocol = first?.address.protocol ?? 'fastcgi';
  const sources = [node.span, ...members.map((one) => one.node.span)];
  const starter =
    members.length === 1 ? findStarter(reading.starters, first?.address.address ?? '') : undefined;
  if (starter !== undefined && protocol === 'fastcgi') {
    const made = draft.addClass(starter.name, 'static', starter.options, [
      starter.span,
      ...sources,
    ]);
    reading.taken(node, `goes to ${made.name}, which Usher starts now`);
    return made.name;
  }
  const name = wanted ?? nameOfAddress(first?.address.address ?? '');
  const options: Option[] = protocol === 'ajp' ? [['protocol', 'ajp']] : [];
  const sockets = members.filter((one) => one.address.address.startsWith('unix:'));
  if (protocol === 'fastcgi' && sockets.length > 0) {
    options.push(['socket', sockets[0]?.address.address.slice('unix:'.length) ?? '']);
    for (const { node } of members.filter((one) => one !== sockets[0])) {
      reading.none(
        node,
        'a class has one UNIX socket, or hosts: give this program an address of host and port',
      );
    }
  } else {
    options.push(...members.map((one) => memberOption(reading, one)));
  }
  options.push(...context, ...workerOptions(reading, members, protocol, name));
  options.push(...balancerOptions(reading, balancer, node, protocol));
  if (protocol === 'fastcgi') {
    options.push(['concurrency', '32']);
    reading.changed(
      node,
      'class of an address; -concurrency says how many requests it gets at once (mod_proxy_fcgi: any number): set it to what the program can do (php-fpm: pm.max_children)',
    );
  }
  const made = draft.addClass(name, 'external', options, sources);
  reading.taken(node, `goes to ${made.name}`);
  return made.name;
}

function nameOfAddress(address: string): string {
  if (address.startsWith('unix:')) return nameFor(address.slice('unix:'.length));
  return `app-${address.replace(/[^\w.-]+/g, '-')}`;
}

function memberOption(reading: ApacheReading, { address, parameters, node }: Member): Option {
  const isAjp = address.protocol === 'ajp';
  const parts = [address.address];
  const route = parameters.get('route');
  const factor = Number(parameters.get('loadfactor') ?? 1);
  const status = parameters.get('status')?.toUpperCase() ?? '';
  if (isAjp && route !== undefined) parts.push(`route=${route}`);
  if (isAjp && factor !== 1) parts.push(`weight=${Math.min(100, Math.max(1, Math.round(factor)))}`);
  if (!isAjp && factor !== 1)
    reading.none(
      node,
      'external FastCGI hosts have no weight: the one with the fewest requests is next',
      `loadfactor=${factor}`,
    );
  if (isAjp && status.includes('D')) parts.push('activation=stopped');
  else if (isAjp && status.includes('N')) parts.push('activation=disabled');
  const kind = /[HR]/.test(status.replace(/-[HR]/g, '')) ? 'backup' : 'host';
  if (kind === 'backup') reading.taken(node, '-backup: only while no other one is up');
  if (!isAjp && status.includes('D')) return ['down', address.address];
  return [kind, parts.join(',')];
}

interface Rule {
  option: string;
  unit: 'time' | 'ajptime' | 'text';
  changed?: string;
}

const ajpRules: Record<string, Rule> = {
  timeout: { option: 'reply-timeout', unit: 'time' },
  connectiontimeout: { option: 'socket-connect-timeout', unit: 'ajptime' },
  ping: { option: 'prepost-timeout', unit: 'ajptime' },
  retry: { option: 'recover-time', unit: 'time' },
  acquire: { option: 'connection-acquire-timeout', unit: 'ajptime', changed: 'milliseconds there' },
  ttl: { option: 'connection-pool-timeout', unit: 'time' },
  iobuffersize: { option: 'max-packet-size', unit: 'text' },
};
const fastcgiRules: Record<string, Rule> = {
  timeout: { option: 'idle-timeout', unit: 'time' },
  connectiontimeout: { option: 'appConnTimeout', unit: 'ajptime' },
};
const memberReasons: Record<string, string> = {
  max: 'counts connections of each child process; -concurrency and -connection-pool-size count those of all',
  min: 'idle connections: -connection-pool-minsize, of a gateway',
  smax: 'idle connections: -connection-pool-minsize, of a gateway',
  retry: 'the manager looks itself when a host is back, after 0.2 to 5 s',
  keepalive: 'idle connections are asked (CPING) before they are used',
  disablereuse: 'set -concurrency, and -keep-conn where connections shall be kept',
  enablereuse: 'set -keep-conn where the program serves several connections at once',
  flushpackets: 'answers are passed on as they come; -flush for FastCGI',
  flushwait: 'answers are passed on as they come',
  lbset: 'there are no sets: -backup is the second choice',
  redirect: 'no redirect to other workers',
  ping: 'FastCGI has no ping: the manager connects to a host that failed',
  acquire: 'requests wait in httpd: -queue-timeout',
  ttl: 'connections are not kept, unless -keep-conn says so',
  upgrade: 'AJP cannot carry another protocol',
};

function workerOptions(
  reading: ApacheReading,
  members: readonly Member[],
  protocol: Address['protocol'],
  className: string,
): Option[] {
  const rules = protocol === 'ajp' ? ajpRules : fastcgiRules;
  const options: Option[] = [];
  for (const { parameters, node: at } of members) {
    for (const [name, value] of parameters) {
      if (['route', 'loadfactor', 'status'].includes(name)) continue;
      if (name === 'secret') {
        if (!options.some(([known]) => known === 'secret-file')) {
          options.push(reading.draft.secret(className, value, at.span));
        }
        continue;
      }
      const rule = rules[name];
      const shown = rule === undefined ? null : showValue(rule, name, value);
      if (rule === undefined || shown === null) {
        const reason = memberReasons[name] ?? 'Usher has nothing like it';
        reading.none(at, reason, `${name}=${value}`);
      } else if (!options.some(([known]) => known === rule.option)) {
        options.push([rule.option, shown]);
        reading.taken(at, `-${rule.option} ${shown}`, `${name}=${value}`);
      }
    }
  }
  return options;
}

function showValue({ unit }: Rule, name: string, value: string): string | null {
  if (unit === 'text')
    return /^\d+$/.test(value) ? `${Math.min(65_536, Math.max(8192, Number(value)))}` : null;
  const isMilliseconds = name === 'acquire' && /^\d+$/.test(value);
  const time = isMilliseconds ? Number(value) / 1000 : seconds(value);
  return time === null || (time === 0 && name !== 'retry') ? null : showTime(Math.max(time, 0.001));
}

const balancerRules: Record<string, (value: string) => Option | string> = {
  stickysession: (value) => ['session-cookie', value.split('|')[0] ?? value],
  lbmethod: (value) => {
    if (value === 'byrequests') return ['method', 'request'];
    if (value === 'bybusyness') return ['method', 'busyness'];
    return 'by bytes or heartbeats nothing is shared out: fewest requests in progress (-method busyness)';
  },
  nofailover: (value) => (/^on$/i.test(value) ? ['sticky-session-force', true] : 'the default'),
  failonstatus: (value) => ['fail-on-status', value.split(',')[0] ?? value],
  maxattempts: (value) => ['retries', `${Math.min(10, Number(value) || 2)}`],
};

function balancerOptions(
  reading: ApacheReading,
  parameters: ReadonlyMap<string, string>,
  node: ApacheDirective,
  protocol: Address['protocol'],
): Option[] {
  return [...parameters].flatMap(([name, value]): Option[] => {
    const subject = `${name}=${value}`;
    const said = balancerRules[name]?.(value);
    if (said === undefined || protocol !== 'ajp') {
      reading.none(
        node,
        protocol === 'ajp'
          ? 'Usher has nothing like it'
          : 'FastCGI hosts: the one with the fewest requests is next, there are no sessions',
        subject,
      );
      return [];
    }
    if (typeof said === 'string') {
      reading.changed(node, said, subject);
      return [];
    }
    reading.taken(node, `-${said.filter((part) => part !== true).join(' ')}`, subject);
    const path = /\|(.+)$/.exec(name === 'stickysession' ? value : '')?.[1];
    const codes = name === 'failonstatus' ? value.split(',').slice(1) : [];
    return [
      said,
      ...(path === undefined ? [] : [['session-path', path] as Option]),
      ...codes.map((code): Option => ['fail-on-status', code]),
    ];
  });
}

/** @param pass ProxyPass may say more of the balancer, and of paths. */
function balancerClass(
  reading: ApacheReading,
  url: string,
  context: readonly Option[],
  pass: Pass | null,
): string | null {
  const name = url.replace(/^balancer:\/\//, '').replace(/\/.*$/, '');
  const balancer = pendings(reading).balancers.get(name);
  const [first] = balancer?.members ?? [];
  if (balancer === undefined || first === undefined) return null;
  const parameters = new Map([...balancer.parameters, ...(pass?.parameters ?? [])]);
  const made = addressClass(
    reading,
    balancer.members,
    parameters,
    pass?.node ?? first.node,
    nameFor(name),
    context,
  );
  for (const { span } of balancer.nodes) {
    if (!reading.draft.isNoted(span)) reading.draft.note('taken', span, `of class ${made}`);
  }
  if (reading.draft.isSameServer) for (const node of balancer.nodes) reading.remove(node);
  return made;
}

// ---- ProxyPass

/** <Proxy> sections of which everything went to classes. */
function removeEmptied(reading: ApacheReading): void {
  for (const { section } of reading.scopes) {
    if (section?.name.toLowerCase() !== 'proxy' || section.children.length === 0) continue;
    const isGone = section.children.every(
      (child) =>
        child.kind === 'directive' && isOfPrograms(child) && reading.draft.isNoted(child.span),
    );
    if (!isGone) continue;
    const { source, start } = section.span;
    reading.remove({ span: { ...section.span, source, start, end: section.close.end } });
  }
}

function isOfPrograms({ name }: ApacheDirective): boolean {
  return /^(balancermember|proxyset)$/i.test(name);
}

export function finishProxy(reading: ApacheReading): void {
  const pending = pendings(reading);
  const hasOurs =
    pending.passes.some(({ to }) => isOurs(to, pending)) || reading.draft.model.classes.length > 0;
  for (const pass of pending.passes) {
    if (pass.to === '!') readExclusion(reading, pass, pending);
    else if (isOurs(pass.to, pending)) mountPass(reading, pass);
  }
  for (const { node, scope } of pending.others) remarkOther(reading, node, scope, hasOurs);
  if (reading.draft.isSameServer) removeEmptied(reading);
  else {
    for (const { node } of pending.passes) {
      if (!reading.draft.isNoted(node.span)) reading.none(node, 'of another protocol: proxy_pass');
    }
  }
}

function isOurs(url: string, { balancers }: Pending): boolean {
  if (parseAddress(url) !== null) return true;
  const name = /^balancer:\/\/([^/]+)/.exec(url)?.[1];
  return name !== undefined && (balancers.get(name)?.members.length ?? 0) > 0;
}

function mountPass(reading: ApacheReading, pass: Pass): void {
  const { node, scope, to } = pass;
  const isBalancer = to.startsWith('balancer://');
  const address = isBalancer ? memberAddress(reading, to) : parseAddress(to);
  if (address === null) return;
  const path = isBalancer ? (/^balancer:\/\/[^/]+(\/.*)?$/.exec(to)?.[1] ?? '') : address.path;
  const context = address.protocol === 'ajp' ? contextOptions(reading, pass, path) : [];
  const name = isBalancer
    ? balancerClass(reading, to, context, pass)
    : addressClass(
        reading,
        [memberOf(reading, to, address, pass.parameters, node)],
        new Map(),
        node,
        null,
        context,
      );
  if (name === null) return;
  if (isBalancer) reading.taken(node, `goes to ${name}`);
  if (address.protocol === 'fastcgi' && pass.isExpression) remarkFile(reading, pass, path);
  const runsFiles = address.protocol === 'fastcgi' && pass.isExpression && path !== '';
  const target: Mount['target'] = { kind: 'class', name };
  const files =
    runsFiles && reading.draft.to === 'nginx' ? fileNames(pass.from, false, scope.host) : null;
  const where = files ?? whereOf(pass);
  if (address.protocol === 'fastcgi' && !pass.isExpression) {
    reading.changed(
      node,
      'SCRIPT_NAME is the prefix, PATH_INFO the rest (mod_proxy_fcgi: SCRIPT_NAME is all of it)',
    );
  }
  const mount: Mount = {
    where,
    target,
    runsFiles,
    parameters: [],
    sources: [node.span],
  };
  const isInside = scope.kind === 'location' || scope.kind === 'expression';
  if (isInside && reading.draft.isSameServer) reading.replace(node, [`UsherPass "${name}"`]);
  else reading.addUrlMount(scope.host, mount, node);
}

function memberAddress(reading: ApacheReading, url: string): Address | null {
  const name = /^balancer:\/\/([^/]+)/.exec(url)?.[1] ?? '';
  return pendings(reading).balancers.get(name)?.members[0]?.address ?? null;
}

function whereOf({ from, isExpression }: Pass): Mount['where'] {
  if (isExpression) return { kind: 'expression', expression: from, ignoresCase: false };
  return from.length > 1 && from.endsWith('/')
    ? { kind: 'start', path: from }
    : { kind: 'path', path: from.replace(/\/+$/, '') };
}

/** Another path at the engine: -mount and -context. */
function contextOptions(
  reading: ApacheReading,
  { node, from, isExpression }: Pass,
  path: string,
): Option[] {
  const mount = from.replace(/\/+$/, '');
  const context = path.replace(/\/+$/, '');
  if (mount === context) return [];
  if (isExpression) {
    if (path === '' || /^\/?\$[01]/.test(path)) return [];
    reading.none(
      node,
      `the engine’s path ${path}: -mount and -context know prefixes only; let both sides have the same path`,
    );
    return [];
  }
  reading.taken(
    node,
    `-mount ${mount || '/'} -context ${context || '/'}: redirects and cookies’ paths are translated back`,
  );
  return [
    ['mount', mount === '' ? '/' : mount],
    ['context', context === '' ? '/' : context],
  ];
}

/** ProxyPassMatch … fcgi://host/srv/www/$1: the file that the program is told. */
function remarkFile(reading: ApacheReading, { node, scope }: Pass, path: string): void {
  if (path === '' || path === '/') {
    reading.changed(
      node,
      'SCRIPT_FILENAME is the file that httpd finds for the URL (mod_proxy_fcgi: the URL itself)',
    );
    return;
  }
  const directory = path.replace(/\$.*$/, '').replace(/\/+$/, '');
  const root = scope.host.root ?? reading.main.root;
  if (directory !== root) {
    reading.changed(
      node,
      `SCRIPT_FILENAME is the file that httpd finds for the URL, not ${directory}/…: DocumentRoot or Alias must lead there`,
    );
  } else {
    reading.taken(node, `SCRIPT_FILENAME is the file below ${directory}`);
  }
}

function readExclusion(reading: ApacheReading, pass: Pass, pending: Pending): void {
  const isAlone = pending.passes.every((one) => one.to === '!' || isOurs(one.to, pending));
  const mount: Mount = {
    ...{ where: whereOf(pass), target: { kind: 'nobody' }, runsFiles: false, parameters: [] },
    sources: [pass.node.span],
  };
  if (!pending.passes.some((one) => isOurs(one.to, pending))) return;
  if (pass.scope.kind === 'location' || pass.scope.kind === 'expression') {
    if (reading.draft.isSameServer)
      reading.replace(pass.node, isAlone ? ['UsherPass none'] : ['ProxyPass !', 'UsherPass none']);
    else reading.addUrlMount(pass.scope.host, mount, pass.node);
  } else {
    reading.addUrlMount(pass.scope.host, mount, pass.node, !isAlone);
    if (!isAlone)
      reading.draft.note('kept', pass.node.span, 'for the other ProxyPass lines as well');
  }
  reading.taken(pass.node, 'left to the web server');
}

function remarkOther(
  reading: ApacheReading,
  node: ApacheDirective,
  _scope: Scope,
  hasOurs: boolean,
): void {
  const name = node.name.toLowerCase();
  const url = node.words.find((word) => /:\/\//.test(word)) ?? '';
  const isForOurs = parseAddress(url) !== null || (url.startsWith('balancer://') && hasOurs);
  if (name.startsWith('proxypassreverse') && (isForOurs || name !== 'proxypassreverse')) {
    reading.taken(
      node,
      'redirects and cookies’ paths are translated back where -mount and -context differ',
    );
    if (isForOurs) reading.remove(node);
  } else if (name === 'proxyfcgibackendtype') {
    reading.none(node, 'programs get SCRIPT_FILENAME as a plain path, as FPM and others want it');
    reading.remove(node);
  } else if (name === 'proxyfcgisetenvif') {
    reading.none(node, 'set the variable by SetEnv or SetEnvIf in the section of UsherPass');
    reading.remove(node);
  } else if (name === 'proxytimeout' && hasOurs) {
    reading.none(
      node,
      'for programs: -idle-timeout, for engines -reply-timeout; the line stays for other proxies',
    );
  } else if (!reading.draft.isSameServer) {
    reading.none(node, 'of another protocol, or of mod_proxy itself: write it for nginx by hand');
  }
}
