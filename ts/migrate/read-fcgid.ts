// SPDX-License-Identifier: Apache-2.0
// mod_fcgid: its directives, with the names they had before 2.3.0, and the classes of its wrappers.

import { type ApacheReading, chain, type Scope, type Wrapper } from './apache-reading.ts';
import type { ApacheDirective } from './apache-syntax.ts';
import { mostOfClass, nameFor } from './draft.ts';
import { type Option, type ProgramClass, quoteWord } from './model.ts';
import type { Span } from './source.ts';
import { count, showTime } from './units.ts';

const oldNames: Record<string, string> = {
  fcgiwrapper: 'fcgidwrapper',
  defaultinitenv: 'fcgidinitialenv',
  passheader: 'fcgidpassheader',
  maxrequestsperprocess: 'fcgidmaxrequestsperprocess',
  processlifetime: 'fcgidprocesslifetime',
  idletimeout: 'fcgididletimeout',
  busytimeout: 'fcgidbusytimeout',
  ipccommtimeout: 'fcgidiotimeout',
  ipcconnecttimeout: 'fcgidconnecttimeout',
  maxprocesscount: 'fcgidmaxprocesses',
  defaultmaxclassprocesscount: 'fcgidmaxprocessesperclass',
  defaultminclassprocesscount: 'fcgidminprocessesperclass',
  maxrequestlen: 'fcgidmaxrequestlen',
  maxrequestinmem: 'fcgidmaxrequestinmem',
  outputbuffersize: 'fcgidoutputbuffersize',
  php_fix_pathinfo_enable: 'fcgidfixpathinfo',
  busyscaninterval: 'fcgidbusyscaninterval',
  errorscaninterval: 'fcgiderrorscaninterval',
  idlescaninterval: 'fcgididlescaninterval',
  zombiescaninterval: 'fcgidzombiescaninterval',
  spawnscore: 'fcgidspawnscore',
  spawnscoreuplimit: 'fcgidspawnscoreuplimit',
  terminationscore: 'fcgidterminationscore',
  socketpath: 'fcgidipcdir',
  sharemempath: 'fcgidprocesstablefile',
};

/** Without an equivalent, and why. */
const without: Record<string, string> = {
  fcgidfixpathinfo: 'SCRIPT_NAME is the URL’s; PHP finds its own (cgi.fix_pathinfo)',
  fcgidmaxrequestinmem: 'a body above 64 kB goes to a temporary file',
  fcgidoutputbuffersize: 'an answer is passed on as it comes, read ahead of a slow client',
  fcgidbusyscaninterval: 'processes are looked after when something happens',
  fcgiderrorscaninterval: 'processes are looked after when something happens',
  fcgididlescaninterval: 'processes are looked after when something happens',
  fcgidzombiescaninterval: 'processes are looked after when something happens',
  fcgidspawnscore: 'starts follow the load; failures are backed off from',
  fcgidspawnscoreuplimit: 'starts follow the load; failures are backed off from',
  fcgidterminationscore: 'starts follow the load; failures are backed off from',
  fcgidtimescore: 'starts follow the load; failures are backed off from',
  fcgidipcdir: 'sockets are in the runtime directory: UsherRuntimeDir',
  fcgidprocesstablefile: 'there is no such file: UsherRuntimeDir',
  fcgidwin32preventorphans: 'about Windows',
};

interface Simple {
  option: string;
  unit: 'time' | 'count';
  /** Values that say "no limit". */
  never: readonly number[];
  changed?: string;
}

const simple: Record<string, Simple> = {
  fcgidmaxrequestsperprocess: { option: 'max-requests', unit: 'count', never: [0, -1] },
  fcgidprocesslifetime: { option: 'max-lifetime', unit: 'time', never: [0] },
  fcgididletimeout: { option: 'idle-stop', unit: 'time', never: [] },
  fcgidbusytimeout: {
    ...{ option: 'request-timeout', unit: 'time', never: [0] },
    changed: 'the request is answered 504, and the process replaced',
  },
  fcgidiotimeout: {
    ...{ option: 'idle-timeout', unit: 'time', never: [] },
    changed: 'answered 504, not 500',
  },
  fcgidconnecttimeout: {
    ...{ option: 'appConnTimeout', unit: 'time', never: [0] },
    changed: 'the start of a cold program is in it: raise it where programs start slowly',
  },
};

/** The handled name; null = it is not of mod_fcgid. */
export function fcgidName(name: string): string | null {
  const lower = name.toLowerCase();
  const current = oldNames[lower] ?? lower;
  return current.startsWith('fcgid') ? current : null;
}

/** Keeps a directive for the classes that are made at the end. */
export function readFcgid(reading: ApacheReading, node: ApacheDirective, scope: Scope): void {
  const name = fcgidName(node.name) ?? '';
  const reason = without[name];
  if (reason !== undefined) {
    reading.none(node, reason);
    reading.remove(node);
  } else if (name === 'fcgidwrapper') {
    readWrapper(node, scope);
  } else if (/^fcgid(authenticator|authorizer|accesschecker)(authoritative)?$/.test(name)) {
    readAuthorizer(reading, node, name);
  } else {
    const top = topOf(scope);
    top.fcgid.set(name, [...(top.fcgid.get(name) ?? []), node]);
    if (name !== 'fcgidmaxrequestlen') reading.remove(node);
  }
}

function readWrapper(node: ApacheDirective, scope: Scope): void {
  const [text = '', ...more] = node.words;
  const suffix = more.find((word) => word.startsWith('.')) ?? null;
  const isVirtual = more.some((word) => word.toLowerCase() === 'virtual');
  scope.wrappers.push({ command: text.split(/\s+/).filter(Boolean), suffix, isVirtual, node });
}

function readAuthorizer(reading: ApacheReading, node: ApacheDirective, name: string): void {
  const [first = ''] = node.words;
  if (reading.draft.to === 'nginx') {
    reading.none(
      node,
      'nginx has no such phase: auth_request with a location of its own comes next to it',
    );
    return;
  }
  const ours = node.name.replace(/^Fcgid/i, 'FastCgi');
  reading.replace(node, [
    name.endsWith('authoritative') ? `${ours} ${first}` : `${ours} "${first}" -compat`,
  ]);
  reading.changed(node, 'the same role; an authorizer that fails is never left to other modules');
}

function topOf(scope: Scope): Scope {
  let top = scope;
  while (top.parent !== null && top.kind !== 'host' && top.kind !== 'server') top = top.parent;
  return top;
}

/** The class of a wrapper where it is used. */
export function wrapperClass(
  reading: ApacheReading,
  wrapper: Wrapper,
  scope: Scope,
  used: Span[],
): ProgramClass {
  const { command, node } = wrapper;
  const tops = chain(scope, reading.scopes).filter(
    ({ kind }) => kind === 'server' || kind === 'host',
  );
  const own = commandOptions(reading, command, tops);
  const options: Option[] = [
    ['command', command.map(quoteWord).join(' ')],
    ...(own ?? classOptions(reading, tops)),
    ...ownerOptions(tops),
  ];
  const made = reading.draft.addClass(
    wrapperName(reading, command, options, scope),
    'static',
    options,
    [node.span, ...used],
  );
  reading.taken(node, `class ${made.name}`);
  if (!tops.some((top) => top.fcgid.has('fcgidprocesslifetime')) && own === null) {
    reading.changed(
      node,
      'defaults: no end by age (was 3600 s), nothing is kept when idle (was 3 processes), a request may take any time (was 300 s), silence as long as Timeout (was 40 s), 30 s to connect (was 3 s)',
    );
  }
  return made;
}

/** After the program; where hosts run it with other options, after the host as well. */
function wrapperName(
  reading: ApacheReading,
  command: readonly string[],
  options: readonly Option[],
  { host }: Scope,
): string {
  const name = nameFor(command[0] ?? 'app');
  const known = reading.draft.model.classes.find((one) => one.name === name);
  const isOther = known !== undefined && JSON.stringify(known.options) !== JSON.stringify(options);
  return isOther && host.names[0] !== undefined ? `${name}-${host.names[0]}` : name;
}

/** Of the last directive of a name, the innermost scope first. */
function lastOf(tops: readonly Scope[], name: string): ApacheDirective | undefined {
  return tops.flatMap((top) => top.fcgid.get(name) ?? []).at(-1);
}

function classOptions(reading: ApacheReading, tops: readonly Scope[]): Option[] {
  const most = lastOf(tops, 'fcgidmaxprocessesperclass');
  const all = lastOf(tops, 'fcgidmaxprocesses');
  const least = lastOf(tops, 'fcgidminprocessesperclass');
  const wanted = [
    most === undefined ? 100 : number(most, 100),
    all === undefined ? 1000 : number(all, 1000),
  ];
  const limit = Math.max(1, Math.min(...wanted, mostOfClass));
  const kept = Math.max(0, Math.min(least === undefined ? 0 : number(least, 0), limit));
  if (most !== undefined) reading.taken(most, `at most ${limit} processes of a class`);
  if (all !== undefined) {
    reading.changed(
      all,
      `of the programs without a wrapper together, and of each class (${limit}); mod_fcgid counts all programs of the server`,
    );
  }
  if (least !== undefined) reading.changed(least, `${kept} are started with the server and kept`);
  if (Math.min(...wanted) > mostOfClass && most !== undefined) {
    reading.changed(most, `a class has ${mostOfClass} processes at most`);
  }
  const sizes: Option[] =
    kept === 0
      ? [['on-demand', `${limit}`]]
      : [
          ['processes', `${kept}`],
          ...(limit > kept ? [['maxClassProcesses', `${limit}`] as Option] : []),
        ];
  return [...sizes, ...simpleOptions(reading, tops)];
}

function simpleOptions(reading: ApacheReading, tops: readonly Scope[]): Option[] {
  const options: Option[] = [];
  for (const [name, rule] of Object.entries(simple)) {
    const node = lastOf(tops, name);
    if (node === undefined) continue;
    const said = simpleOption(reading, node, rule, node.words[0] ?? '');
    if (said !== null) options.push(said);
  }
  for (const node of tops.flatMap((top) => top.fcgid.get('fcgidinitialenv') ?? [])) {
    const [name = '', value] = node.words;
    options.push(['initial-env', value === undefined ? name : `${name}=${value}`]);
    reading.taken(node, '-initial-env');
  }
  for (const node of tops.flatMap((top) => top.fcgid.get('fcgidpassheader') ?? [])) {
    options.push(['pass-header', node.words[0] ?? '']);
    reading.taken(node, reading.draft.to === 'nginx' ? 'nginx passes it on' : '-pass-header');
  }
  return options;
}

function simpleOption(
  reading: ApacheReading,
  node: ApacheDirective,
  { option, unit, never, changed }: Simple,
  text: string,
): Option | null {
  const value = count(text);
  if (value === null) {
    reading.none(node, `"${text}" is no number`);
    return null;
  }
  if (never.includes(value)) {
    reading.taken(node, 'no limit, as is the default');
    return null;
  }
  const shown = unit === 'time' ? showTime(Math.max(0, value)) : `${value}`;
  const spelled =
    option === 'idle-timeout' && reading.draft.to === 'nginx'
      ? 'fastcgi_read_timeout'
      : `-${option}`;
  const said = `${spelled} ${shown}${unit === 'time' ? ' (seconds, as before)' : ''}`;
  if (changed === undefined) reading.taken(node, said);
  else reading.changed(node, `${said}: ${changed}`);
  return [option, shown];
}

const commandNames: Record<string, string> = {
  busytimeout: 'fcgidbusytimeout',
  connecttimeout: 'fcgidconnecttimeout',
  idletimeout: 'fcgididletimeout',
  iotimeout: 'fcgidiotimeout',
  maxprocesslifetime: 'fcgidprocesslifetime',
  maxrequestsperprocess: 'fcgidmaxrequestsperprocess',
};

/** FcgidCmdOptions of a command; null = there are none. */
function commandOptions(
  reading: ApacheReading,
  command: readonly string[],
  tops: readonly Scope[],
): Option[] | null {
  const node = tops
    .flatMap((top) => top.fcgid.get('fcgidcmdoptions') ?? [])
    .filter(({ words }) => words[0] === command[0] || words[0] === command.join(' '))
    .at(-1);
  if (node === undefined) return null;
  const options: Option[] = [];
  let most = 100;
  let least = 0;
  for (let at = 1; at < node.words.length; at++) {
    const name = (node.words[at] ?? '').toLowerCase();
    const value = node.words[++at] ?? '';
    const rule = simple[commandNames[name] ?? ''];
    if (rule !== undefined) {
      const said = simpleOption(reading, node, rule, value);
      if (said !== null) options.push(said);
    } else if (name === 'initialenv') options.push(['initial-env', value]);
    else if (name === 'maxprocesses') most = Math.min(Number(value) || most, mostOfClass);
    else if (name === 'minprocesses') least = Number(value) || 0;
    else reading.none(node, `${node.words[at - 1]}: unknown to mod_fcgid as well`);
  }
  reading.taken(node, 'the options of that command’s class; general directives do not hold for it');
  const sizes: Option[] =
    least === 0
      ? [['on-demand', `${most}`]]
      : [
          ['processes', `${least}`],
          ['maxClassProcesses', `${Math.max(least, most)}`],
        ];
  return [...sizes, ...options];
}

function ownerOptions(tops: readonly Scope[]): Option[] {
  const owner = tops
    .map((top) => top.owner)
    .filter((one) => one !== null)
    .at(-1);
  return owner
    ? [
        ['user', owner[0]],
        ['group', owner[1]],
      ]
    : [];
}

function number(node: ApacheDirective, fallback: number): number {
  return count(node.words[0] ?? '') ?? fallback;
}

/** Options of programs without a wrapper, and what is left to say of directives that nobody used. */
export function finishFcgid(reading: ApacheReading, server: Scope, usesFiles: boolean): void {
  const { dynamic } = reading.draft.model;
  if (usesFiles) {
    const sizes: [name: string, option: string, fallback: number][] = [
      ['fcgidmaxprocesses', 'maxProcesses', 1000],
      ['fcgidmaxprocessesperclass', 'maxClassProcesses', 100],
    ];
    for (const [name, option, fallback] of sizes) {
      const node = lastOf([server], name);
      if (node === undefined) continue;
      const most = option === 'maxProcesses' ? 4096 : mostOfClass;
      dynamic.options.push([option, `${Math.max(1, Math.min(number(node, fallback), most))}`]);
      reading.taken(node, `-${option} of the programs without a wrapper`);
    }
    dynamic.options.push(...simpleOptions(reading, [server]));
  }
  for (const scope of reading.scopes) {
    for (const [name, nodes] of scope.fcgid) {
      for (const node of nodes) finishOne(reading, name, node, scope);
    }
  }
}

function finishOne(
  reading: ApacheReading,
  name: string,
  node: ApacheDirective,
  scope: Scope,
): void {
  const { draft } = reading;
  if (name === 'fcgidmaxrequestlen') {
    const bytes = number(node, 131_072);
    scope.host.maxBodyBytes = bytes;
    const ours = draft.to === 'nginx' ? 'client_max_body_size' : 'LimitRequestBody';
    reading.changed(
      node,
      `${ours} ${bytes} (bytes): 413 above it, not 500, and for all that the host serves`,
    );
    reading.replace(node, [`LimitRequestBody ${bytes}`]);
  } else if (!draft.isNoted(node.span)) {
    const why =
      Object.hasOwn(simple, name) ||
      name.startsWith('fcgidm') ||
      /env|header|cmdoptions/.test(name);
    reading.none(node, why ? 'no program of these files is run with it' : 'not known');
  }
}
