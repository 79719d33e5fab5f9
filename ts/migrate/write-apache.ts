// SPDX-License-Identifier: Apache-2.0
// The model as httpd.conf: classes, and for each host where requests go.
import type { Host, Model, Mount } from './model.ts';
import { escapeExpression } from './source.ts';
import { apacheClasses, indent, quote } from './write-classes.ts';

/** A whole fragment, for httpd.conf to include. */
export function writeApache(model: Model, base: string): string {
  const ports = new Set(model.hosts.flatMap(({ listens }) => listens.map(apacheAddress)));
  const lines = [
    ...[...ports].map((address) => `Listen ${address.replace(/^\*:/, '')}`),
    '',
    ...apacheClasses(model, base),
    ...model.hosts.flatMap((host) => ['', ...writeHost(host)]),
  ];
  return `${lines.join('\n').trim()}\n`;
}

function writeHost(host: Host): string[] {
  const addresses = host.listens.map(apacheAddress);
  const [name, ...others] = host.names.map(apacheName).filter((one) => one !== '_' && one !== '');
  const directories = [host.root, ...host.aliases.map(({ path }) => path)].filter(
    (one) => one !== null,
  );
  return [
    `<VirtualHost ${addresses.length === 0 ? '*:80' : addresses.join(' ')}>`,
    ...indent([
      ...(name === undefined ? [] : [`ServerName ${quote(name)}`]),
      ...others.map((one) => `ServerAlias ${quote(one)}`),
      ...(host.tls === null ? [] : tlsLines(host.tls)),
      ...(host.root === null ? [] : [`DocumentRoot ${quote(host.root)}`]),
      ...(host.indexes.length === 0 ? [] : [`DirectoryIndex ${host.indexes.map(quote).join(' ')}`]),
      ...(host.maxBodyBytes === null ? [] : [`LimitRequestBody ${host.maxBodyBytes}`]),
      ...(host.fallback === null ? [] : [`FallbackResource ${quote(host.fallback)}`]),
      ...host.aliases.map(({ url, path }) => `Alias ${quote(url)} ${quote(path)}`),
      ...[...new Set(directories)].flatMap((directory) => [
        `<Directory ${quote(directory)}>`,
        '    Require all granted',
        '</Directory>',
      ]),
      ...writeMounts(host.mounts),
    ]),
    '</VirtualHost>',
  ];
}

function tlsLines({
  certificate,
  key,
}: {
  certificate: string | null;
  key: string | null;
}): string[] {
  return [
    'SSLEngine on',
    ...(certificate === null ? [] : [`SSLCertificateFile ${quote(certificate)}`]),
    ...(key === null ? [] : [`SSLCertificateKeyFile ${quote(key)}`]),
  ];
}

/** In the order in which sections hold: the last one that fits, so the first mount comes last. */
export function writeMounts(mounts: readonly Mount[]): string[] {
  return [...mounts].reverse().flatMap((mount) => writeMount(mount));
}

export function writeMount({ where, target, parameters }: Mount): string[] {
  const inside = [
    target.kind === 'class'
      ? `UsherPass ${quote(target.name)}`
      : target.kind === 'nobody'
        ? 'UsherPass none'
        : `SetHandler ${target.protocol === 'cgi' ? 'usher-cgi' : 'fastcgi-script'}`,
    ...(target.kind === 'file' ? ['Options +ExecCGI'] : []),
    ...parameters.map(([name, value]) => `SetEnv ${name} ${quote(value)}`),
  ];
  switch (where.kind) {
    case 'path':
      return section('Location', where.path === '' ? '/' : where.path, inside);
    case 'start':
      return where.path.endsWith('/')
        ? section('Location', where.path, inside)
        : section('LocationMatch', `^${escapeExpression(where.path)}`, inside);
    case 'exact':
      return section('LocationMatch', `^${escapeExpression(where.path)}$`, inside);
    case 'expression':
      return section(
        'LocationMatch',
        `${where.ignoresCase ? '(?i)' : ''}${where.expression}`,
        inside,
      );
    case 'files': {
      const files = where.names === '' ? inside : section('FilesMatch', where.names, inside);
      if (where.directory !== null) return section('Directory', where.directory, files);
      return where.names === '' ? section('Location', '/', inside) : files;
    }
  }
}

function section(name: string, argument: string, inside: readonly string[]): string[] {
  return [`<${name} "${argument.replaceAll('"', '\\"')}">`, ...indent(inside), `</${name}>`];
}

/** 8080, 127.0.0.1:8080, [::]:8080 ssl */
function apacheAddress(listen: string): string {
  const [address = '80'] = listen.split(' ');
  if (/^\d+$/.test(address)) return `*:${address}`;
  return /:\d+$/.test(address) ? address : `${address}:80`;
}

/** .example.org is the name and all below it. */
function apacheName(name: string): string {
  return name.startsWith('.') ? `*${name}` : name;
}
