// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Host } from '../host.ts';
import type { Placement, Use, WebServer } from './server.ts';

/** @throws Error when there is none. */
export async function findNginx(host: Host): Promise<WebServer> {
  const { status, output } = await host.run('nginx', ['-V']);
  if (status === null) throw new Error('nginx is not installed: apt-get install nginx');
  const [, version = ''] = /^nginx version: (\S+)/m.exec(output) ?? [];
  const [, conf = '/etc/nginx/nginx.conf'] = /--conf-path=(\S+)/.exec(output) ?? [];
  const folder = dirname(conf);
  const isDebian = existsSync(`${folder}/modules-enabled`);
  return {
    kind: 'nginx',
    version,
    buildPackages: ['nginx-dev'],
    placements: isDebian ? placements(folder) : placements(folder).slice(-2, -1),
    configuration: `${folder}/snippets/usher.conf`,
    byHand: isDebian
      ? null
      : `${conf} has no folder modules-enabled: begin it with "load_module PREFIX/build/ngx_http_usher_module.so;" ` +
        `and put "include ${folder}/snippets/usher.conf;" into http`,
    reload: host.hasSystemd ? 'systemctl reload nginx' : 'nginx -s reload',
    checkModule: (path) => checkModule(path, host),
    async checkConfiguration() {
      const { status, output } = await host.run('nginx', ['-t', '-q']);
      return status === 0 ? null : output.trim();
    },
    async uses(ignored) {
      const { status, output } = await host.run('nginx', ['-T', '-q']);
      return status === 0 ? usesIn(output).filter(({ file }) => !ignored.has(file)) : null;
    },
  };
}

function placements(folder: string): Placement[] {
  const load = `${folder}/modules-available/mod-http-usher.conf`;
  const configuration = `${folder}/snippets/usher.conf`;
  return [
    { kind: 'file', path: load, source: 'nginx/mod-http-usher.conf', what: 'loads the module' },
    {
      kind: 'link',
      path: `${folder}/modules-enabled/50-mod-http-usher.conf`,
      target: load,
      what: 'enables it',
    },
    { kind: 'file', path: configuration, source: 'nginx/usher.conf', what: 'configuration' },
    {
      kind: 'link',
      path: `${folder}/conf.d/usher.conf`,
      target: configuration,
      what: 'enables it',
    },
  ];
}

async function checkModule(path: string, host: Host): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), 'usher-check-'));
  try {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const text = `load_module ${path};
pid ${folder}/pid;
error_log stderr warn;
events {}
http {
    access_log off;
${temporary.map((name) => `    ${name}_temp_path ${folder}/${name};\n`).join('')}
    usher_runtime_dir ${folder}/run;
    usher_app check command=/bin/true;
}
`;
    writeFileSync(`${folder}/nginx.conf`, text);
    const args = ['-t', '-q', '-e', 'stderr', '-p', folder, '-c', `${folder}/nginx.conf`];
    const { status, output } = await host.run('nginx', args);
    return status === 0 ? null : faultIn(output, `${folder}/nginx.conf`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What it says of a configuration that nobody else will see: without time, pid and that name. */
function faultIn(output: string, file: string): string {
  const [line = ''] = output.trim().split('\n');
  return line.replace(/^.*?\[\w+\] \d+#\d+: /, '').replace(` in ${file}:1`, '');
}

/** @param dump What nginx -T prints: each file after a line with its name. */
export function usesIn(dump: string): Use[] {
  const uses: Use[] = [];
  let file = '';
  let line = 0;
  for (const text of dump.split('\n')) {
    const [, name] = /^# configuration file (.*):$/.exec(text) ?? [];
    line += 1;
    if (name !== undefined) {
      file = name;
      line = 0;
    } else if (isUse(text)) uses.push({ file, line, text: text.trim() });
  }
  return uses;
}

function isUse(text: string): boolean {
  const code = text.replace(/(^|\s)#.*/, '');
  return (
    /(^|[;{}])\s*usher_\w+(\s|$)/.test(code) ||
    /\$\{?usher_\w/.test(code) ||
    /\bload_module\s.*ngx_http_usher_module/.test(code)
  );
}
