// SPDX-License-Identifier: Apache-2.0
// mod_jk: JkMount, JkUnMount, JkMountFile, and the workers of workers.properties.
import { resolve } from 'node:path';
import type { ApacheReading, Scope } from './apache-reading.ts';
import type { ApacheDirective } from './apache-syntax.ts';
import type { Host, Mount, Option } from './model.ts';
import { type Property, readProperties, readProperty, Workers } from './properties.ts';
import { escapeExpression, type Source, type Span } from './source.ts';
import { count, milliseconds, showTime } from './units.ts';

interface Rule {
  /** Its pattern, and a ! before it. */
  pattern: string;
  worker: string;
  isExcluded: boolean;
  /** Where it stands: JkMount, or the JkMountFile that has it. */
  node: ApacheDirective;
  scope: Scope;
  /** The line that is remarked: of the directive, or of the file. */
  span: Span;
}

interface Pending {
  rules: Rule[];
  properties: Property[];
  attributes: Option[];
}

const pendingOf = new WeakMap<ApacheReading, Pending>();

function pendings(reading: ApacheReading): Pending {
  const known = pendingOf.get(reading);
  if (known !== undefined) return known;
  const made: Pending = { rules: [], properties: [], attributes: [] };
  pendingOf.set(reading, made);
  return made;
}

export function isJk(name: string): boolean {
  return /^jk[a-z]+$/.test(name);
}

const without: Record<string, string> = {
  jklogfile: 'usher.log and httpd’s error log say what happens',
  jkloglevel: 'usher.log and httpd’s error log say what happens',
  jklogstampformat: 'usher.log and httpd’s error log say what happens',
  jkrequestlogformat: 'LogFormat: %{USHER_BACKEND}e %{USHER_ROUTE}e %{usher_wait_ms}n',
  jkshmfile: 'there is no such file: UsherRuntimeDir',
  jkshmsize: 'there is no such file: UsherRuntimeDir',
  jkwatchdoginterval: 'the manager looks after engines by itself',
  jkautoalias: 'write an Alias for static files of web applications',
  jkstripsession: 'a path is passed on as it came: rewrite it where httpd serves such files',
  jkoptions:
    'what it chooses among is decided: the path goes on as httpd matched it, engines get address, port and TLS',
  jkhttpsindicator: 'engines hear of TLS from httpd (mod_ssl)',
  jkcertsindicator: 'engines hear of TLS from httpd (mod_ssl)',
  jkcertchainprefix: 'engines hear of TLS from httpd (mod_ssl)',
  jkcipherindicator: 'engines hear of TLS from httpd (mod_ssl)',
  jksessionindicator: 'engines hear of TLS from httpd (mod_ssl)',
  jkkeysizeindicator: 'engines hear of TLS from httpd (mod_ssl)',
  jkextractssl: 'engines hear of TLS from httpd (mod_ssl)',
  jkremoteaddrindicator: 'engines get REMOTE_ADDR: mod_remoteip changes it',
  jkworkerindicator: 'sections of UsherPass say which class',
  jkmountfilereload: 'the configuration is read at a reload of httpd',
};

export function readJk(reading: ApacheReading, node: ApacheDirective, scope: Scope): void {
  const pending = pendings(reading);
  const name = node.name.toLowerCase();
  const [first = '', second] = node.words;
  switch (name) {
    case 'jkworkersfile':
      readWorkersFile(reading, node, pending, first);
      return;
    case 'jkworkerproperty':
      pending.properties.push(readProperty(node.words.join(' '), node.span));
      reading.remove(node);
      return;
    case 'jkmount':
    case 'jkunmount':
      readMount(
        pending,
        node,
        scope,
        second === undefined ? [`${scope.subject}|/*`, first] : [first, second],
      );
      return;
    case 'jkmountfile':
      readMountFile(reading, pending, node, scope, first);
      return;
    case 'jkmountcopy':
      if (/^all$/i.test(first)) reading.copiesToAll = true;
      else if (/^on$/i.test(first)) reading.copies.add(scope.host);
      reading.taken(node, 'mounts of the main server in virtual hosts');
      reading.remove(node);
      return;
    case 'jkenvvar':
      pending.attributes.push(['request-attribute', first]);
      reading.changed(
        node,
        `-request-attribute ${first}: SetEnv gives its value${second === undefined ? '' : `, ${second} is no longer its default`}`,
      );
      reading.remove(node);
      return;
    default:
      reading.none(node, without[name] ?? 'Usher has nothing like it');
      reading.remove(node);
  }
}

function readWorkersFile(
  reading: ApacheReading,
  node: ApacheDirective,
  pending: Pending,
  file: string,
): void {
  const path = resolve(reading.configuration.serverRoot, file);
  const source = readSource(reading, node, path);
  if (source === null) return;
  pending.properties.push(...readProperties(source));
  reading.taken(node, 'its workers are classes');
  reading.remove(node);
}

function readSource(reading: ApacheReading, node: ApacheDirective, path: string): Source | null {
  try {
    return { path, text: reading.files.read(path) };
  } catch (failure) {
    reading.none(
      node,
      `cannot read ${path}: ${failure instanceof Error ? failure.message : failure}`,
    );
    return null;
  }
}

function readMount(
  pending: Pending,
  node: ApacheDirective,
  scope: Scope,
  [uri = '', worker = '']: readonly string[],
): void {
  const isExcluded = node.name.toLowerCase() === 'jkunmount';
  for (const pattern of patterns(uri)) {
    pending.rules.push({
      pattern,
      worker: withoutExtensions(worker),
      isExcluded,
      node,
      scope,
      span: node.span,
    });
  }
}

/** "/app|/*" is "/app" and "/app/*". */
function patterns(uri: string): string[] {
  const at = uri.indexOf('|');
  return at === -1 ? [uri] : [uri.slice(0, at), uri.slice(0, at) + uri.slice(at + 1)];
}

function withoutExtensions(worker: string): string {
  return worker.split(';')[0]?.trim() ?? '';
}

function readMountFile(
  reading: ApacheReading,
  pending: Pending,
  node: ApacheDirective,
  scope: Scope,
  file: string,
): void {
  const source = readSource(reading, node, resolve(reading.configuration.serverRoot, file));
  if (source === null) return;
  reading.changed(node, 'its lines are written out: changes there are not seen any more');
  for (const { name, value, span } of readProperties(source)) {
    const isExcluded = /^[!-]/.test(name);
    const [worker, ...extensions] = value.split(';');
    for (const extension of extensions) {
      reading.draft.note(
        'none',
        span,
        'what holds for one URL only: make a class of its own with that option',
        extension.trim(),
      );
    }
    for (const pattern of patterns(name.replace(/^[!-]/, ''))) {
      pending.rules.push({ pattern, worker: worker?.trim() ?? '', isExcluded, node, scope, span });
    }
  }
}

// ---- mounts

export function finishJk(reading: ApacheReading): void {
  const pending = pendings(reading);
  if (pending.rules.length === 0 && pending.properties.length === 0) return;
  const workers = new Workers(pending.properties);
  const classes = new Classes(reading, workers, pending);
  for (const host of new Set(pending.rules.map(({ scope }) => scope.host))) {
    const rules = pending.rules.filter(({ scope }) => scope.host === host);
    mountRules(reading, rules, classes, host);
  }
  classes.finish();
}

/** mod_jk takes the longest pattern that fits, and asks exclusions after that. */
function mountRules(
  reading: ApacheReading,
  rules: readonly Rule[],
  classes: Classes,
  host: Host,
): void {
  const ordered = [
    ...rules.filter(({ isExcluded }) => isExcluded),
    ...rules
      .filter(({ isExcluded }) => !isExcluded)
      .sort((a, b) => b.pattern.length - a.pattern.length),
  ];
  for (const rule of ordered) {
    const name = rule.isExcluded ? null : classes.of(rule.worker, rule.span);
    if (!rule.isExcluded && name === null) {
      if (reading.draft.isSameServer) reading.remove(rule.node);
      continue;
    }
    const target: Mount['target'] = name === null ? { kind: 'nobody' } : { kind: 'class', name };
    const mount: Mount = {
      where: whereOf(rule.pattern),
      target,
      runsFiles: false,
      parameters: [],
      sources: [rule.span],
    };
    if (rule.scope.kind === 'location' && reading.draft.isSameServer) {
      if (name !== null) reading.replace(rule.node, [`UsherPass "${name}"`]);
    } else reading.addUrlMount(host, mount, rule.node);
    reading.draft.note(
      'taken',
      rule.span,
      name === null ? 'left to the web server' : `goes to ${name}`,
    );
  }
}

function whereOf(pattern: string): Mount['where'] {
  if (pattern === '/*' || pattern === '/') return { kind: 'path', path: '' };
  const start = /^(\/[^*?]*)\/\*$/.exec(pattern)?.[1];
  if (start !== undefined) return { kind: 'start', path: `${start}/` };
  const begin = /^(\/[^*?]*)\*$/.exec(pattern)?.[1];
  if (begin !== undefined) return { kind: 'start', path: begin };
  if (!/[*?]/.test(pattern)) return { kind: 'exact', path: pattern };
  const expression = escapeExpression(pattern).replaceAll('\\*', '.*').replaceAll('\\?', '.');
  return {
    kind: 'expression',
    expression: `^${expression.startsWith('/') || expression.startsWith('.*') ? '' : '/'}${expression}$`,
    ignoresCase: false,
  };
}

// ---- workers

interface WorkerRule {
  option: string;
  unit: 's' | 'ms' | 'count' | 'flag' | 'text';
}

const workerRules: Record<string, WorkerRule> = {
  socket_connect_timeout: { option: 'socket-connect-timeout', unit: 'ms' },
  connect_timeout: { option: 'connect-timeout', unit: 'ms' },
  prepost_timeout: { option: 'prepost-timeout', unit: 'ms' },
  ping_timeout: { option: 'ping-timeout', unit: 'ms' },
  reply_timeout: { option: 'reply-timeout', unit: 'ms' },
  connection_acquire_timeout: { option: 'connection-acquire-timeout', unit: 'ms' },
  connection_ping_interval: { option: 'connection-ping-interval', unit: 's' },
  connection_pool_timeout: { option: 'connection-pool-timeout', unit: 's' },
  cache_timeout: { option: 'connection-pool-timeout', unit: 's' },
  recycle_timeout: { option: 'connection-pool-timeout', unit: 's' },
  recover_time: { option: 'recover-time', unit: 's' },
  error_escalation_time: { option: 'error-escalation-time', unit: 's' },
  connection_pool_minsize: { option: 'connection-pool-minsize', unit: 'count' },
  max_packet_size: { option: 'max-packet-size', unit: 'count' },
  session_cookie: { option: 'session-cookie', unit: 'text' },
  session_path: { option: 'session-path', unit: 'text' },
  sticky_session_force: { option: 'sticky-session-force', unit: 'flag' },
};
/** Said by other means, in the class's line. */
const structural = new Set([
  ...[
    'host',
    'port',
    'type',
    'lbfactor',
    'route',
    'jvm_route',
    'activation',
    'disabled',
    'stopped',
  ],
  ...['balance_workers', 'balanced_workers', 'reference', 'secret', 'mount', 'ping_mode', 'method'],
  ...['sticky_session', 'fail_on_status', 'retries', 'lb_retries', 'distance'],
]);
/** Of AJP 1.3 only. */
const ofAjp13 = new Set(['max-packet-size', 'connection-pool-minsize', 'connection-pool-timeout']);
const workerReasons: Record<string, string> = {
  socket_timeout:
    'no time for single reads and writes: -reply-timeout (engine silent), -socket-connect-timeout',
  socket_keepalive: 'idle connections are asked (CPING) before they are used',
  socket_buffer: 'the system’s size',
  connection_pool_size:
    'counts connections of each child of httpd; -connection-pool-size counts those of a gateway, as many as -concurrency (200)',
  cachesize:
    'counts connections of each child of httpd; -connection-pool-size counts those of a gateway',
  recovery_options:
    'a request is sent again only when it cannot have been executed: nothing sent, or a GET on a connection that ended without a byte',
  max_reply_timeouts:
    'silence that -reply-timeout ends is no failure of the engine; -fail-on-status, usher backend',
  retry_interval: 'tries follow each other at once',
  domain: 'there are no domains: sessions of a failed engine begin anew elsewhere',
  redirect: 'no redirect to another worker: another one is chosen by load',
  busy_limit: '-concurrency is the limit, of a gateway',
  lock: 'there is one way of counting',
  prefer_ipv6: 'a name counts with all its addresses',
  css: 'the status worker: usher status',
};

class Classes {
  readonly #reading: ApacheReading;
  readonly #workers: Workers;
  readonly #pending: Pending;
  readonly #names = new Map<string, string | null>();

  constructor(reading: ApacheReading, workers: Workers, pending: Pending) {
    this.#reading = reading;
    this.#workers = workers;
    this.#pending = pending;
  }

  /** The class of a worker; null = it has none. */
  of(worker: string, used: Span): string | null {
    const known = this.#names.get(worker);
    if (known !== undefined) return known;
    const made = this.#make(worker, used);
    this.#names.set(worker, made);
    return made;
  }

  /** Workers that are listed and mounted nowhere, and properties that nobody looked at. */
  finish(): void {
    const { draft } = this.#reading;
    for (const worker of this.#workers.listed()) {
      const [mount] = this.#workers.list(worker, 'mount');
      const property = this.#workers.get(worker, 'mount');
      if (mount !== undefined && property !== undefined) {
        draft.note(
          'none',
          property.span,
          `say JkMount ${mount} ${worker} in httpd.conf, and migrate again`,
        );
      }
    }
    for (const { name, span, value } of this.#workers.all()) {
      if (draft.isNoted(span)) continue;
      if (name === 'worker.maintain')
        draft.note('none', span, 'the manager looks after engines by itself');
      else if (name === 'worker.list')
        draft.note('taken', span, 'workers are classes where they are mounted');
      else if (/^worker\.[^.]+\./.test(name))
        draft.note('none', span, 'of a worker that is mounted nowhere');
      else
        draft.note(
          'taken',
          span,
          `a variable or a template: ${value === '' ? 'empty' : 'put in where it is used'}`,
        );
    }
  }

  #make(worker: string, used: Span): string | null {
    const { draft } = this.#reading;
    const workers = this.#workers;
    const type = workers.get(worker, 'type')?.value.toLowerCase() ?? 'ajp13';
    if (!workers.has(worker)) {
      draft.note(
        'none',
        used,
        `there is no worker "${worker}" in the files: give its JkWorkersFile`,
      );
      return null;
    }
    if (type === 'status') {
      draft.note('none', used, 'the status worker: usher status, usher backend');
      this.#remarkAll(worker, 'the status worker: usher status, usher backend');
      return null;
    }
    const members = type === 'lb' ? this.#members(worker) : [worker];
    const [first = worker] = members;
    const protocol = workers.get(first, 'type')?.value.toLowerCase() === 'ajp12' ? 'ajp12' : 'ajp';
    const name = draft.freeName(/^[A-Za-z]/.test(worker) ? worker : `worker-${worker}`);
    const options: Option[] = [
      ['protocol', protocol],
      ...members.map((member) => this.#host(member, type === 'lb', protocol)),
    ];
    const sources = [used];
    for (const member of members) this.#attributes(member, options, name, protocol);
    if (type === 'lb') this.#attributes(worker, options, name, protocol);
    options.push(...this.#pending.attributes);
    const span = workers.get(worker, 'type')?.span ?? workers.get(worker, 'host')?.span;
    if (span !== undefined) sources.unshift(span);
    return draft.addClass(name, 'external', options, sources).name;
  }

  #members(worker: string): string[] {
    const { draft } = this.#reading;
    const members = ['balance_workers', 'balanced_workers'].flatMap((name) => {
      for (const { span } of this.#workers.properties(worker, name)) {
        draft.note('taken', span, 'a -host for each');
      }
      return this.#workers.list(worker, name);
    });
    return [...new Set(members)];
  }

  #host(worker: string, isMember: boolean, protocol: string): Option {
    const { draft } = this.#reading;
    const value = (name: string): string | undefined => {
      const property = this.#workers.get(worker, name);
      if (property !== undefined) draft.note('taken', property.span, 'in -host');
      return property?.value;
    };
    const type = this.#workers.get(worker, 'type');
    if (type !== undefined) draft.note('taken', type.span, `-protocol ${protocol}`);
    const host = (value('host') ?? 'localhost').replace(/^localhost$/, '127.0.0.1');
    const hasPort = /^[^:]+:\d+$/.test(host);
    const port = value('port') ?? (protocol === 'ajp12' ? '8007' : '8009');
    const address = hasPort ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const route = value('route') ?? value('jvm_route') ?? (isMember ? worker : undefined);
    const factor = Number(value('lbfactor') ?? 1);
    const activation = this.#activation(worker, value);
    const distance = this.#workers.get(worker, 'distance');
    if (distance !== undefined) {
      const isFar = Number(distance.value) > 0;
      draft.note(
        'changed',
        distance.span,
        isFar
          ? '-backup: only while no nearer one is up; there are two distances, near and far'
          : 'near',
      );
      if (isFar)
        return ['backup', [address, ...(route === undefined ? [] : [`route=${route}`])].join(',')];
    }
    const parts = [
      address,
      ...(route === undefined ? [] : [`route=${route}`]),
      ...(factor === 1 || !(factor > 0)
        ? []
        : [`weight=${Math.min(100, Math.max(1, Math.round(factor)))}`]),
      ...(activation === null ? [] : [`activation=${activation}`]),
    ];
    return ['host', parts.join(',')];
  }

  #activation(worker: string, value: (name: string) => string | undefined): string | null {
    const said = value('activation')?.toLowerCase() ?? '';
    const isTrue = (name: string): boolean => /^(1|true|t|on|yes|y)$/i.test(value(name) ?? '');
    if (said.startsWith('s') || isTrue('stopped')) return 'stopped';
    void worker;
    return said.startsWith('d') || isTrue('disabled') ? 'disabled' : null;
  }

  #attributes(worker: string, options: Option[], className: string, protocol: string): void {
    const { draft } = this.#reading;
    const add = (
      option: Option,
      { span }: Property,
      text = `-${option[0]}${option[1] === true ? '' : ` ${option[1]}`}`,
    ): void => {
      if (option[0] !== 'fail-on-status' && options.some(([known]) => known === option[0])) return;
      options.push(option);
      draft.note('taken', span, text);
    };
    for (const [name, property] of this.#workers.attributes(worker)) {
      const rule = workerRules[name];
      if (rule !== undefined) this.#simple(property, rule, protocol, add);
      else if (structural.has(name)) this.#special(name, property, worker, className, options, add);
      else draft.note('none', property.span, workerReasons[name] ?? 'Usher has nothing like it');
    }
  }

  #simple(
    property: Property,
    { option, unit }: WorkerRule,
    protocol: string,
    add: (option: Option, property: Property, text?: string) => void,
  ): void {
    const { draft } = this.#reading;
    const { value, span } = property;
    if (protocol === 'ajp12' && ofAjp13.has(option)) {
      draft.note('none', span, 'AJP 1.2 has a connection for each request');
      return;
    }
    if (unit === 'flag') {
      if (/^(1|true|t|on|yes|y)$/i.test(value)) add([option, true], property);
      else draft.note('taken', span, 'the default');
      return;
    }
    const shown = unit === 'ms' ? milliseconds(value) : unit === 's' ? secondsOf(value) : value;
    const isCount = unit !== 'count' || count(value) !== null;
    if (shown === null || !isCount) draft.note('none', span, `"${value}" is no number`);
    else if (value === '0' && /^(socket-connect|ping)-timeout$/.test(option))
      draft.note('changed', span, 'no limit there; here the default');
    else {
      const said = unit === 'ms' ? ` (milliseconds there)` : unit === 's' ? ' (seconds there)' : '';
      add(
        [option, option === 'max-packet-size' ? packetSize(value) : shown],
        property,
        `-${option} ${shown}${said}`,
      );
    }
  }

  #special(
    name: string,
    property: Property,
    worker: string,
    className: string,
    options: Option[],
    add: (option: Option, property: Property, text?: string) => void,
  ): void {
    const { draft } = this.#reading;
    const { value, span } = property;
    switch (name) {
      case 'secret':
        this.#secret(property, className, options);
        return;
      case 'ping_mode':
        this.#pingMode(property, worker, add);
        return;
      case 'method':
        if (/^b/i.test(value)) add(['method', 'busyness'], property);
        else if (/^r/i.test(value)) add(['method', 'request'], property);
        else {
          draft.note('changed', span, 'sessions and bytes are not counted: -method request');
          options.push(['method', 'request']);
        }
        return;
      case 'sticky_session':
        if (/^(0|false|f|off|no|n)$/i.test(value)) add(['sticky-session', 'off'], property);
        else draft.note('taken', span, 'the default');
        return;
      case 'fail_on_status':
        for (const code of value.split(/[\s,]+/).filter(Boolean)) {
          if (code.startsWith('-'))
            draft.note(
              'changed',
              span,
              'a negative one fails the request only there; here its backend',
            );
          add(['fail-on-status', code.replace(/^-/, '')], property);
        }
        return;
      case 'retries':
      case 'lb_retries':
        draft.note(
          'changed',
          span,
          '-retries counts further addresses that a request is tried at, of which nothing was sent yet (2)',
        );
        return;
      default:
        if (!draft.isNoted(span))
          draft.note(
            'taken',
            span,
            name === 'reference' ? 'what it refers to is put in' : 'in -host',
          );
    }
  }

  #secret({ value, span }: Property, className: string, options: Option[]): void {
    const { draft } = this.#reading;
    const known = draft.model.secrets.find((one) => one.className === className);
    if (known === undefined) options.push(draft.secret(className, value, span));
    else if (known.value !== value) {
      draft.note(
        'none',
        span,
        'a class has one secret, that of its first worker: give the engines the same one',
      );
    }
  }

  /** C, P, I, A: which of the three questions are asked; ping_timeout is their time (10 s). */
  #pingMode(
    property: Property,
    worker: string,
    add: (option: Option, property: Property, text?: string) => void,
  ): void {
    const time = milliseconds(this.#workers.get(worker, 'ping_timeout')?.value ?? '10000') ?? '10';
    const mode = property.value.toUpperCase();
    const asks = (letter: string): boolean => mode.includes(letter) || mode.includes('A');
    if (asks('C')) add(['connect-timeout', time], property);
    if (asks('P')) add(['prepost-timeout', time], property);
    if (asks('I') && this.#workers.get(worker, 'connection_ping_interval') === undefined) {
      add(['connection-ping-interval', '100'], property);
    }
    if (!this.#reading.draft.isNoted(property.span))
      this.#reading.draft.note('taken', property.span, 'nothing is asked');
  }

  #remarkAll(worker: string, text: string): void {
    for (const { span } of this.#workers.attributes(worker).values())
      this.#reading.draft.note('none', span, text);
  }
}

function secondsOf(value: string): string | null {
  return /^\d+$/.test(value) ? showTime(Number(value)) : null;
}

function packetSize(value: string): string {
  return `${Math.min(65_536, Math.max(8192, Number(value)))}`;
}
