// SPDX-License-Identifier: Apache-2.0
// How the programs behind an address are started: spawn-fcgi, fcgiwrap and pools of php-fpm, each as
// the options of a class of Usher.
import { type Draft, mostOfClass, nameFor } from './draft.ts';
import { type Option, quoteWord } from './model.ts';
import { type Pool, type PoolSetting, parsePools } from './php-fpm.ts';
import { type CommandLine, readCommands, readUnit, splitCommands, type Unit } from './shell.ts';
import type { Source, Span } from './source.ts';
import { seconds, showTime } from './units.ts';

/** What is started, and where it listened. */
export interface Starter {
  address: string | null;
  /** cgi: fcgiwrap, whose programs the requests name. */
  protocol: 'fastcgi' | 'cgi';
  name: string;
  options: Option[];
  span: Span;
}

/** Of how programs are started, after what the text holds; null = it is something else. */
export function starterFormat(path: string, text: string): 'php-fpm' | 'unit' | 'shell' | null {
  if (/^\s*\[[^\]\n]+\]/m.test(text) && /^\s*(listen|pm)\s*=/m.test(text)) return 'php-fpm';
  if (/^\s*\[(Service|Socket)\]/m.test(text)) return 'unit';
  const isServer = /^\s*(<\/?[A-Z]|LoadModule|http\s*\{|server\s*\{|location\s)/m.test(text);
  if (!isServer && /\b(spawn-fcgi|fcgiwrap)\b/.test(text)) return 'shell';
  return /\.(sh|service|socket)$/.test(path) ? 'shell' : null;
}

export function readStarters(source: Source, draft: Draft): Starter[] {
  const format = starterFormat(source.path, source.text);
  if (format === 'php-fpm') return readPools(source, draft);
  if (format === 'unit') return readUnits(source, draft);
  return readCommands(source).flatMap((line) => readCommand(line, draft));
}

/** The starter of an address; unix:/run/x and unix:/var/run/x are one, so are names of this host. */
export function findStarter(starters: readonly Starter[], address: string): Starter | undefined {
  const wanted = normalAddress(address);
  return starters.find((one) => one.address !== null && normalAddress(one.address) === wanted);
}

export function normalAddress(address: string): string {
  const path = /^(?:unix:)?(\/.*)$/.exec(address)?.[1];
  if (path !== undefined) return `unix:${path.replace(/^\/var\/run\//, '/run/')}`;
  const [, host = '', port = ''] = /^(?:(.*):)?(\d+)$/.exec(address) ?? [null, address, ''];
  const isHere = ['', '*', 'localhost', '0.0.0.0', '[::]', '[::1]', '::', '::1'].includes(host);
  return `${isHere ? '127.0.0.1' : host}:${port}`;
}

// ---- command lines

function readCommand(line: CommandLine, draft: Draft): Starter[] {
  const program = line.words[0]?.split('/').at(-1);
  if (program === 'spawn-fcgi') return [readSpawnFcgi(line, draft)];
  if (program === 'fcgiwrap') return [readFcgiwrap(line.words, line, null, draft)];
  if (program?.startsWith('php-cgi') && line.words.includes('-b')) return [readPhpCgi(line, draft)];
  return [];
}

const spawnOptions = /^-([cdapCFsPugMUGbf])(.*)$/s;

interface SpawnFcgi {
  given: Map<string, string>;
  program: string[];
}

function splitSpawnFcgi(words: readonly string[]): SpawnFcgi {
  const given = new Map<string, string>();
  let at = 1;
  for (; at < words.length; at++) {
    const word = words[at] as string;
    if (word === '--') {
      at++;
      break;
    }
    const [, option, value = ''] = spawnOptions.exec(word) ?? [];
    if (option !== undefined) given.set(option, value === '' ? (words[++at] ?? '') : value);
    else if (word.startsWith('-')) given.set(word.slice(1), '');
    else break;
  }
  const command = given.get('f');
  const program = command === undefined ? words.slice(at) : (splitCommands(command)[0] ?? []);
  return { given, program };
}

const spawnRemarks: Record<string, string> = {
  c: 'Usher has no chroot: start the program by a wrapper that does, or use a unit of systemd with RootDirectory=',
  M: 'nobody connects to the program but the web server: its sockets are Usher’s own',
  U: 'nobody connects to the program but the web server: its sockets are Usher’s own',
  G: 'nobody connects to the program but the web server: its sockets are Usher’s own',
  b: 'requests wait in the web server, not in a backlog: queue_limit',
  P: 'no pid file: usher status shows the processes',
  S: 'setuid and setgid: the program runs as user and group say',
};

function readSpawnFcgi(line: CommandLine, draft: Draft): Starter {
  const { given, program } = splitSpawnFcgi(line.words);
  const { span } = line;
  for (const [option, text] of Object.entries(spawnRemarks)) {
    if (given.has(option)) draft.note('none', span, text, `spawn-fcgi -${option}`);
  }
  const socket = given.get('s');
  const port = given.get('p');
  const address = socket ?? (port === undefined ? null : `${given.get('a') ?? ''}:${port}`);
  const [first = ''] = program;
  const isWrap = first.split('/').at(-1) === 'fcgiwrap';
  const own: Option[] = [
    ...option('user', given.get('u')),
    ...option('group', given.get('g')),
    ...option('cwd', given.get('d')),
  ];
  const forks = Number(given.get('F') ?? 1);
  if (isWrap) {
    const starter = readFcgiwrap(program, line, address, draft);
    const concurrency: Option[] = forks > 1 ? [['concurrency', `${forks}`]] : [];
    return { ...starter, options: [...starter.options, ...concurrency, ...own.filter(isOwner)] };
  }
  const children = Number(given.get('C') ?? line.env.get('PHP_FCGI_CHILDREN') ?? 0);
  const processes = Math.max(1, forks) * Math.max(1, children);
  draft.note(
    'taken',
    span,
    `starts ${processes} of ${first}: Usher starts them now; end this command`,
  );
  return {
    address,
    protocol: 'fastcgi',
    name: nameFor(first),
    options: [
      ['command', program.map(quoteWord).join(' ')],
      ...processOptions(processes, span, draft),
      ...own,
      ...environment(line, draft),
    ],
    span,
  };
}

/** php-cgi -b ADDRESS: its own way to listen. */
function readPhpCgi(line: CommandLine, draft: Draft): Starter {
  const at = line.words.indexOf('-b');
  const program = line.words.filter((_, index) => index !== at && index !== at + 1);
  const processes = Math.max(1, Number(line.env.get('PHP_FCGI_CHILDREN') ?? 1));
  draft.note(
    'taken',
    line.span,
    `starts ${processes} of php-cgi: Usher starts them now; end this command`,
  );
  return {
    address: line.words[at + 1] ?? null,
    protocol: 'fastcgi',
    name: 'php-cgi',
    options: [
      ['command', program.map(quoteWord).join(' ')],
      ...processOptions(processes, line.span, draft),
      ...environment(line, draft),
    ],
    span: line.span,
  };
}

function environment({ env, span }: CommandLine, draft: Draft): Option[] {
  return [...env].flatMap(([name, value]): Option[] => {
    if (name === 'PHP_FCGI_CHILDREN') {
      draft.note('changed', span, 'Usher starts the processes, not PHP: processes', name);
      return [];
    }
    if (name === 'PHP_FCGI_MAX_REQUESTS' && /^\d+$/.test(value)) {
      draft.note('taken', span, `max_requests=${value}: without a lost request`, name);
      return [
        ['max-requests', value],
        ['initial-env', 'PHP_FCGI_MAX_REQUESTS=0'],
      ];
    }
    if (!/^[A-Za-z_]\w*$/.test(name) || /^(OPTIONS|ARGS|DAEMON\w*|PATH)$/.test(name)) return [];
    return [['initial-env', `${name}=${value}`]];
  });
}

function processOptions(processes: number, span: Span, draft: Draft): Option[] {
  if (processes > mostOfClass) {
    draft.note('changed', span, `${processes} processes: a class has ${mostOfClass} at most`);
  }
  return [['processes', `${Math.min(processes, mostOfClass)}`]];
}

function option(name: string, value: string | undefined): Option[] {
  return value === undefined || value === '' ? [] : [[name, value]];
}

function isOwner([name]: Option): boolean {
  return name === 'user' || name === 'group';
}

function readFcgiwrap(
  words: readonly string[],
  { span }: Pick<CommandLine, 'span'>,
  address: string | null,
  draft: Draft,
): Starter {
  const after = (name: string): string | undefined => {
    const at = words.indexOf(name);
    return at === -1 ? undefined : words[at + 1];
  };
  const socket = after('-s')?.replace(/^(tcp6?|unix):/, (kind) => (kind === 'unix:' ? kind : ''));
  const children = after('-c');
  if (words.includes('-p')) {
    draft.note(
      'changed',
      span,
      'the allowed programs: those below a root (dynamic_root), or commands of classes',
      'fcgiwrap -p',
    );
  }
  draft.note('taken', span, 'fcgiwrap: a class of protocol=cgi runs the programs; end fcgiwrap');
  return {
    address: address ?? socket ?? null,
    protocol: 'cgi',
    name: 'usher-cgi',
    options: children === undefined ? [] : [['concurrency', children]],
    span,
  };
}

// ---- units of systemd

function readUnits(source: Source, draft: Draft): Starter[] {
  const unit = readUnit(source);
  const [listen] = unit.settings.get('ListenStream') ?? [];
  if (listen !== undefined) {
    const isWrap = /fcgiwrap/.test(source.path) || /fcgiwrap/.test(listen.value);
    if (isWrap) return [{ ...readFcgiwrap([], listen, listen.value, draft) }];
    draft.note(
      'none',
      listen.span,
      'a socket of systemd: whose program it is stands in its service, which ListenStream does not name; give spawn-fcgi’s command line, or define the class by hand',
    );
    return [];
  }
  return (unit.settings.get('ExecStart') ?? []).flatMap(({ value, span }) => {
    const words = splitCommands(value.replace(/^[-@:+!]+/, ''))[0] ?? [];
    const line: CommandLine = { words, env: unitEnvironment(unit), span };
    return readCommand(line, draft).map((starter) => ({
      ...starter,
      options: [...starter.options, ...unitOptions(unit, starter.options)],
    }));
  });
}

function unitEnvironment({ settings }: Unit): Map<string, string> {
  const words = (settings.get('Environment') ?? []).flatMap(({ value }) =>
    splitCommands(value).flat(),
  );
  return new Map(
    words
      .filter((word) => word.includes('='))
      .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
  );
}

function unitOptions({ settings }: Unit, known: readonly Option[]): Option[] {
  const names: [string, string][] = [
    ...([
      ['User', 'user'],
      ['Group', 'group'],
      ['WorkingDirectory', 'cwd'],
    ] as [string, string][]),
  ];
  return names.flatMap(([key, name]) => {
    const isKnown = known.some(([one]) => one === name);
    return isKnown ? [] : option(name, settings.get(key)?.at(-1)?.value);
  });
}

// ---- php-fpm

const poolRemarks: Record<string, [verdict: 'changed' | 'none', text: string]> = {
  chroot: ['none', 'Usher has no chroot'],
  'pm.status_path': ['none', 'usher status shows the pool'],
  'ping.path': ['none', 'Usher knows itself whether a process serves'],
  'access.log': ['none', 'the web server’s access log has $usher_class, $usher_wait_ms'],
  slowlog: ['none', 'no trace of slow scripts: request_timeout records what hangs'],
  request_slowlog_timeout: ['none', 'no trace of slow scripts: request_timeout records what hangs'],
  'security.limit_extensions': ['changed', 'which files are scripts is the web server’s word'],
  'listen.backlog': ['none', 'requests wait in the web server: queue_limit'],
  'pm.start_servers': ['none', 'the load decides between the least and the most'],
  'pm.max_spare_servers': ['none', 'the load decides between the least and the most'],
  'pm.max_spawn_rate': ['none', 'the load decides'],
  catch_workers_output: ['changed', 'always: what programs write is in usher.log'],
  clear_env: [
    'changed',
    'programs get what initial_env says, nothing else: name each variable there',
  ],
};

function readPools(source: Source, draft: Draft): Starter[] {
  const { pools, global } = parsePools(source);
  for (const { span } of global.settings.values()) {
    draft.note('none', span, 'about php-fpm’s master process: there is none');
  }
  return pools.map((pool) => readPool(pool, draft));
}

function readPool(pool: Pool, draft: Draft): Starter {
  const { settings, span } = pool;
  const words = ['php-cgi', ...ini(pool, draft)];
  const options: Option[] = [
    ['command', words.map(quoteWord).join(' ')],
    ...poolSizes(pool, draft),
    ...simple(pool, draft),
    ...limits(pool, draft),
    ...poolEnvironment(pool, draft),
  ];
  const requests = settings.get('pm.max_requests');
  const most = requests?.value ?? '0';
  if (requests !== undefined) draft.note('taken', requests.span, `max_requests=${most}`);
  if (most !== '0') options.push(['max-requests', most]);
  options.push(['initial-env', 'PHP_FCGI_MAX_REQUESTS=0']);
  draft.note(
    'changed',
    span,
    'php-cgi runs the scripts, one process a request: install it (Debian: php-cgi); its processes do not share an opcode cache (opcache.file_cache may), as php-fpm’s do. To keep php-fpm leave this file out: its address becomes an external class',
  );
  const listen = settings.get('listen');
  if (listen !== undefined)
    draft.note(
      'taken',
      listen.span,
      'the address by which the web server’s configuration names the pool; its sockets are Usher’s own now',
    );
  for (const [name, one] of settings) remarkPoolSetting(name, one, draft);
  return {
    address: listen?.value ?? null,
    protocol: 'fastcgi',
    name: nameFor(pool.name),
    options,
    span,
  };
}

function remarkPoolSetting(name: string, { span }: PoolSetting, draft: Draft): void {
  const known = poolRemarks[name];
  if (known !== undefined) draft.note(known[0], span, known[1]);
  else if (name.startsWith('listen.')) {
    draft.note(
      'none',
      span,
      'nobody connects to the program but the web server: its sockets are Usher’s own',
    );
  } else if (!draft.isNoted(span))
    draft.note('none', span, 'php-cgi and Usher have nothing like it');
}

function poolSizes({ settings, span }: Pool, draft: Draft): Option[] {
  const number = (name: string): number => {
    const found = settings.get(name);
    if (found === undefined) return 0;
    return Number(/^\d+/.exec(found.value)?.[0] ?? 0);
  };
  const wanted = Math.max(1, number('pm.max_children'));
  const most = Math.min(wanted, mostOfClass);
  const children = settings.get('pm.max_children')?.span ?? span;
  if (most < wanted)
    draft.note('changed', children, `a class has ${mostOfClass} processes at most`);
  const pm = settings.get('pm')?.value ?? 'static';
  const said = settings.get('pm')?.span ?? span;
  draft.note('taken', children, `at most ${most} processes`);
  if (pm === 'ondemand') {
    draft.note('taken', said, `on_demand=${most}`);
    const idle = settings.get('pm.process_idle_timeout');
    const time = seconds(idle?.value ?? '10s') ?? 10;
    if (idle !== undefined) draft.note('taken', idle.span, `idle_stop=${showTime(time)}`);
    return [
      ['on-demand', `${most}`],
      ['idle-stop', showTime(time)],
    ];
  }
  if (pm === 'dynamic') {
    const least = Math.min(Math.max(1, number('pm.min_spare_servers')), most);
    draft.note(
      'changed',
      said,
      `processes=${least} max_class_processes=${most}: the load decides between them, not spare processes`,
    );
    const spare = settings.get('pm.min_spare_servers');
    if (spare !== undefined)
      draft.note('changed', spare.span, `processes=${least}: so many are always kept`);
    return [
      ['processes', `${least}`],
      ...(most > least ? [['maxClassProcesses', `${most}`] as Option] : []),
    ];
  }
  draft.note('taken', said, `processes=${most}`);
  return [['processes', `${most}`]];
}

function simple({ settings }: Pool, draft: Draft): Option[] {
  const names: [string, string][] = [
    ['user', 'user'],
    ['group', 'group'],
    ['chdir', 'cwd'],
    ['process.priority', 'priority'],
  ];
  const options = names.flatMap(([name, to]): Option[] => {
    const found = settings.get(name);
    if (found === undefined) return [];
    draft.note('taken', found.span, `${to}=${found.value}`);
    return [[to, found.value]];
  });
  const timeout = settings.get('request_terminate_timeout');
  const time = seconds(timeout?.value ?? '0');
  if (timeout === undefined || time === null) return options;
  draft.note('taken', timeout.span, `request_timeout=${showTime(time)}`);
  return time === 0 ? options : [...options, ['request-timeout', showTime(time)]];
}

function limits({ settings }: Pool, draft: Draft): Option[] {
  return ['files', 'core'].flatMap((name): Option[] => {
    const found = settings.get(`rlimit_${name}`);
    if (found === undefined || !/^(\d+|unlimited)$/.test(found.value)) return [];
    const limit = `${name === 'files' ? 'nofile' : 'core'}=${found.value}`;
    draft.note('taken', found.span, `limit=${limit}`);
    return [['limit', limit]];
  });
}

function poolEnvironment({ lists }: Pool, draft: Draft): Option[] {
  return [...(lists.get('env') ?? [])].map(([name, { value, span }]): Option => {
    const isCopied = value === `$${name}`;
    draft.note(
      'taken',
      span,
      `initial_env=${name}${isCopied ? ', copied from the web server’s' : ''}`,
      `env[${name}]`,
    );
    return ['initial-env', isCopied ? name : `${name}=${value}`];
  });
}

/** php_value and its kind, as arguments of php-cgi. */
function ini({ lists }: Pool, draft: Draft): string[] {
  const kinds = ['php_value', 'php_flag', 'php_admin_value', 'php_admin_flag'];
  return kinds.flatMap((kind) =>
    [...(lists.get(kind) ?? [])].flatMap(([name, { value, span }]) => {
      const isAdmin = kind.includes('admin');
      draft.note(
        isAdmin ? 'changed' : 'taken',
        span,
        isAdmin
          ? `-d ${name}: a script may change it by ini_set(), which php_admin_… forbids`
          : `-d ${name}`,
        `${kind}[${name}]`,
      );
      return ['-d', `${name}=${value}`];
    }),
  );
}
