// SPDX-License-Identifier: Apache-2.0
// mod_jserv: its directives, and the engine that its jserv.properties describes.
import { resolve } from 'node:path';
import { ConfigError } from '../config/config-error.ts';
import {
  type JservProperties,
  parseJservProperties,
  parseZoneProperties,
} from '../config/jserv-properties.ts';
import type { ApacheReading, Scope } from './apache-reading.ts';
import type { ApacheDirective } from './apache-syntax.ts';
import { type Mount, type Option, quoteWord } from './model.ts';
import { MigrateError } from './source.ts';

interface Pending {
  directives: Map<string, ApacheDirective[]>;
  mounts: { node: ApacheDirective; scope: Scope }[];
}

const pendingOf = new WeakMap<ApacheReading, Pending>();

function pendings(reading: ApacheReading): Pending {
  const known = pendingOf.get(reading);
  if (known !== undefined) return known;
  const made: Pending = { directives: new Map(), mounts: [] };
  pendingOf.set(reading, made);
  return made;
}

export function isJserv(name: string): boolean {
  return name.startsWith('apjserv');
}

const without: Record<string, string> = {
  apjservlogfile: 'usher.log and the error log say what happens',
  apjservloglevel: 'usher.log and the error log say what happens',
  apjservshmfile: 'there is no such file: UsherRuntimeDir',
  apjservmountcopy: 'mounts of the main server: write UsherPass where it shall hold',
  apjservaction:
    'files by suffix: <LocationMatch "\\.EXT$"> with UsherPass; the engine must know the path',
  apjservprotocolparameter: 'AJP 1.2 has none that are known',
  apjservretryattempts:
    '-retries counts further addresses; a starting engine is waited for (-appConnTimeout)',
  apjservvminterval: 'engines are watched by themselves',
};

export function readJserv(reading: ApacheReading, node: ApacheDirective, scope: Scope): void {
  const pending = pendings(reading);
  const name = node.name.toLowerCase();
  if (name === 'apjservmount') {
    pending.mounts.push({ node, scope });
    return;
  }
  reading.remove(node);
  const reason = without[name];
  if (reason !== undefined) {
    reading.none(node, reason);
    return;
  }
  pending.directives.set(name, [...(pending.directives.get(name) ?? []), node]);
}

interface Engine {
  protocol: 'ajp12';
  addresses: string[];
}

export function finishJserv(reading: ApacheReading): void {
  const pending = pendings(reading);
  const engine = ownEngine(reading, pending);
  for (const { node, scope } of pending.mounts) mount(reading, pending, node, scope, engine);
  for (const [name, nodes] of pending.directives) {
    for (const node of nodes) {
      if (!reading.draft.isNoted(node.span)) remarkRest(reading, name, node);
    }
  }
}

function remarkRest(reading: ApacheReading, name: string, node: ApacheDirective): void {
  const known: Record<string, string> = {
    apjservdefaulthost: 'the address of mounts that name none',
    apjservdefaultport: 'the address of mounts that name none',
    apjservdefaultprotocol: 'AJP 1.2',
    apjservmanual: 'whether Usher starts the engine',
    apjservhost: 'a -host of its balancer',
    apjservroute: 'the route of a -host',
    apjservbalance: 'a -host of its class',
  };
  const text = known[name];
  if (text === undefined) reading.none(node, 'Usher has nothing like it');
  else reading.taken(node, text);
}

/** The class of the engine that mod_jserv started (ApJServManual off); null = it started none. */
function ownEngine(reading: ApacheReading, pending: Pending): string | null {
  const manual = pending.directives.get('apjservmanual')?.at(-1);
  const file = pending.directives.get('apjservproperties')?.at(-1);
  if (file === undefined || /^on$/i.test(manual?.words[0] ?? 'off')) return null;
  const path = resolve(reading.configuration.serverRoot, file.words[0] ?? '');
  const properties = readEngine(reading, file, path);
  if (properties === null) return null;
  const host = properties.bindAddress ?? '127.0.0.1';
  const address = `${host === 'localhost' ? '127.0.0.1' : host}:${properties.port}`;
  const options: Option[] = [
    ['protocol', 'ajp12'],
    ['command', properties.command.map(quoteWord).join(' ')],
    ['host', address],
    ...[...properties.env, ...properties.copiedEnv].map((one): Option => ['initial-env', one]),
    ...(properties.secretKeyFile === null
      ? []
      : [['secret-file', properties.secretKeyFile] as Option]),
    ...timeOptions(reading, pending),
  ];
  const made = reading.draft.addClass('jserv', 'static', options, [file.span]);
  reading.taken(file, `class ${made.name}: Usher starts the engine, as ApJServManual off has it`);
  remarkEngine(reading, file, properties);
  return made.name;
}

function readEngine(
  reading: ApacheReading,
  node: ApacheDirective,
  path: string,
): JservProperties | null {
  try {
    return parseJservProperties(reading.files.read(path), path);
  } catch (failure) {
    if (failure instanceof ConfigError) {
      throw new MigrateError(failure, failure.message.replace(/^[^:]*:\d+: /, ''));
    }
    reading.none(
      node,
      `cannot read ${path}: ${failure instanceof Error ? failure.message : failure}`,
    );
    return null;
  }
}

function timeOptions(reading: ApacheReading, pending: Pending): Option[] {
  const node = pending.directives.get('apjservvmtimeout')?.at(-1);
  if (node === undefined) return [];
  const [time = ''] = node.words;
  if (!/^\d+$/.test(time)) return [];
  reading.changed(
    node,
    `-stop-timeout ${time} (seconds there): how long it has to end; that it answers is looked at by itself`,
  );
  return [['stop-timeout', time]];
}

function remarkEngine(
  reading: ApacheReading,
  node: ApacheDirective,
  properties: JservProperties,
): void {
  if (properties.copiesAllEnv)
    reading.none(
      node,
      'engines get what -initial-env says; name each variable there',
      'wrapper.env.copyall',
    );
  if (properties.secretKeyFile !== null) {
    reading.changed(
      node,
      `${properties.secretKeyFile} must belong to root and be readable for nobody else (mode 0600)`,
      'security.secretKey',
    );
  }
  for (const [zone, file] of properties.zones) {
    reading.changed(
      node,
      'requests name no zone: the engine finds the servlet by the path',
      `zone ${zone}`,
    );
    if (file === null) continue;
    try {
      const { servlets, repositories } = parseZoneProperties(reading.files.read(file), file);
      reading.taken(
        node,
        `${servlets.size} servlets, ${repositories.length} repositories: the engine’s own, nothing changes`,
        file,
      );
    } catch (failure) {
      reading.none(
        node,
        `cannot be read: ${failure instanceof Error ? failure.message : failure}`,
        file,
      );
    }
  }
}

// ---- mounts

function mount(
  reading: ApacheReading,
  pending: Pending,
  node: ApacheDirective,
  scope: Scope,
  engine: string | null,
): void {
  const [path = '/', url = ''] = node.words;
  const name =
    url === '' || /^\/[^/]*$/.test(url)
      ? (engine ?? addressClass(reading, pending, node, ''))
      : addressClass(reading, pending, node, url);
  const zone = url === '' ? '' : (url.split('/').at(-1) ?? '');
  if (zone !== '')
    reading.changed(node, `zone ${zone} is not told: the engine finds the servlet by the path`);
  reading.taken(node, `goes to ${name}`);
  const target: Mount['target'] = { kind: 'class', name };
  const where: Mount['where'] = { kind: 'path', path: path.replace(/\/+$/, '') };
  reading.addUrlMount(
    scope.host,
    { where, target, runsFiles: false, parameters: [], sources: [node.span] },
    node,
  );
}

function addressClass(
  reading: ApacheReading,
  pending: Pending,
  node: ApacheDirective,
  url: string,
): string {
  const { draft } = reading;
  const set = /^balance:\/\/([^/]+)/i.exec(url)?.[1];
  const engine: Engine = {
    protocol: 'ajp12',
    addresses: set === undefined ? [addressOf(pending, url)] : membersOf(pending, set),
  };
  const secret = secretOf(reading, pending, node);
  const options: Option[] = [
    ['protocol', engine.protocol],
    ...engine.addresses.map((address): Option => ['host', address]),
    ...(secret === null ? [] : [['secret-file', secret] as Option]),
  ];
  const sources = [
    node.span,
    ...(pending.directives.get('apjservhost') ?? []).map(({ span }) => span),
  ];
  return draft.addClass(
    set ?? 'jserv',
    'external',
    options,
    set === undefined ? [node.span] : sources,
  ).name;
}

function secretOf(reading: ApacheReading, pending: Pending, node: ApacheDirective): string | null {
  const directive = pending.directives.get('apjservsecretkey')?.at(-1);
  const own = node.words[2];
  const file = own ?? directive?.words[0];
  if (directive !== undefined)
    reading.taken(directive, 'a file: -secret-file; it must belong to root, mode 0600');
  return file === undefined || /^disabled$/i.test(file)
    ? null
    : resolve(reading.configuration.serverRoot, file);
}

function defaultOf(pending: Pending, name: string, fallback: string): string {
  return pending.directives.get(name)?.at(-1)?.words[0] ?? fallback;
}

function addressOf(pending: Pending, url: string): string {
  const [, host = '', port = ''] = /^(?:ajpv1[0-9]*:\/\/)?([^:/]*)(?::(\d+))?/i.exec(url) ?? [];
  const name = host === '' ? defaultOf(pending, 'apjservdefaulthost', '127.0.0.1') : host;
  const number = port === '' ? defaultOf(pending, 'apjservdefaultport', '8007') : port;
  return `${name === 'localhost' ? '127.0.0.1' : name}:${number}`;
}

/** ApJServBalance SET HOST [weight], ApJServHost HOST url, ApJServRoute ROUTE HOST. */
function membersOf(pending: Pending, set: string): string[] {
  const all = (name: string): string[][] =>
    (pending.directives.get(name) ?? []).map(({ words }) => words);
  return all('apjservbalance')
    .filter(([name]) => name === set)
    .map(([, host = '', weight]) => {
      const url = all('apjservhost').find(([name]) => name === host)?.[1] ?? host;
      const route = all('apjservroute').find(([, name]) => name === host)?.[0];
      return [
        addressOf(pending, url),
        ...(route === undefined ? [] : [`route=${route}`]),
        ...(weight === undefined || weight === '1' ? [] : [`weight=${weight}`]),
      ].join(',');
    });
}
