// SPDX-License-Identifier: Apache-2.0
// Configurations that a page shows without saying that they are a file: the server must take each of them,
// put where its directives belong.

import type { Test } from 'tap';
import type { Block, Page, Server } from './page.ts';
import { PrivateRoot } from './private-root.ts';

const mainDirectives = new Set(['load_module', 'events', 'http', 'user', 'env']);
const serverDirectives = new Set([
  'location',
  'listen',
  'server_name',
  'root',
  'index',
  'error_page',
]);
const locationDirectives = /^(usher_pass|fastcgi_\w+|proxy_\w+|include|auth_\w+)$/;

/** The statements of a text, at its outermost level. */
function statements(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let current = '';
  for (const [token] of text.matchAll(
    /#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\$\{\w+\}|[\s\S]/g,
  )) {
    if (token.startsWith('#')) continue;
    current += token;
    if (token === '{') depth += 1;
    if (token === '}') depth -= 1;
    if (depth > 0 || (token !== ';' && token !== '}')) continue;
    found.push(current.trim());
    current = '';
  }
  if (current.trim() !== '') found.push(current.trim());
  return found;
}

/** Names of classes that the text uses. Those it does not define stand elsewhere on the page. */
function usedClasses(text: string, uses: RegExp, defines: RegExp): string[] {
  const defined = [...text.matchAll(defines)].map(([, name]) => name);
  const used = [...text.matchAll(uses)].map(([, name = '']) => name);
  return [...new Set(used)].filter((name) => /^[a-z]/.test(name) && !defined.includes(name));
}

/** A whole nginx.conf with what the block says at its place. */
export function asNginxConf(text: string, module: string): string {
  const main: string[] = [];
  const http: string[] = [];
  const server: string[] = [];
  const location: string[] = [];
  for (const statement of statements(text)) {
    const name = /^\w+/.exec(statement)?.[0] ?? '';
    if (mainDirectives.has(name)) main.push(statement);
    else if (serverDirectives.has(name)) server.push(statement);
    else if (locationDirectives.test(name)) location.push(statement);
    else http.push(statement);
  }
  const classes = usedClasses(text, /usher_pass\s+(\w+)\s*;/g, /usher_(?:external_)?app\s+(\S+)/g);
  http.push(...classes.map((name) => `usher_app ${name} command=php-cgi;`));
  if (location.length > 0) server.push(`location /of-the-block { ${location.join('\n')} }`);
  if (server.length > 0) http.push(`server { listen 8099;\n${server.join('\n')}\n}`);
  if (!text.includes('load_module')) main.unshift(`load_module ${module};`);
  if (!text.includes('events')) main.push('events { }');
  if (http.length > 0) main.push(`http {\n${http.join('\n')}\n}`);
  return main.join('\n');
}

function asApacheConf(text: string): string {
  const classes = usedClasses(
    text,
    /^\s*UsherPass\s+"?(\w+)"?\s*$/gim,
    /^\s*(?:AppClass|ExternalAppClass|FastCgi\w*Server)\s+"?([^\s"]+)/gim,
  ).filter((name) => name !== 'none');
  return [text, ...classes.map((name) => `AppClass ${name} -command php-cgi`)].join('\n');
}

const needed = `
for user in app tomcat shop git maps blog; do
  getent passwd $user >/dev/null || useradd --system --no-create-home $user
done
install -d -m 700 /etc/usher
(umask 077; echo secret >/etc/usher/shop.secret)
ln -s /usr/lib/apache2/modules /etc/apache2/modules
a2enmod -q actions proxy_http
mount -t tmpfs tmpfs /usr/lib/cgi-bin
`;

/** Programs that the block names by their paths: they must be there to be accepted. */
function programs(text: string): string[] {
  const before =
    '(?:AppClass|Server|usher_app|usher_pass|UsherPass|Wrapper|-command|command=|Authenticator|Authorizer)';
  const found = text.matchAll(new RegExp(`${before}\\s*"?(/[\\w./-]+)[\\s";]`, 'g'));
  return [...found].map(([, path = '']) => path);
}

function isChecked({ language, path }: Block, server: Server): boolean {
  return path === undefined && language === server.toLowerCase();
}

/** @returns how many were checked */
export async function checkConfigurations(t: Test, pages: Page[], server: Server): Promise<number> {
  const host = new PrivateRoot(t, server);
  await host.type(needed);
  const file =
    server === 'nginx' ? '/etc/nginx/block.conf' : '/etc/apache2/conf-enabled/block.conf';
  const command = server === 'nginx' ? `nginx -t -q -c ${file}` : 'apachectl configtest';
  const module = '/path/to/usher/build/ngx_http_usher_module.so';
  let checked = 0;
  for (const page of pages) {
    for (const block of page.blocks.filter((block) => isChecked(block, server))) {
      const { text } = block;
      checked += 1;
      await host.write(file, server === 'nginx' ? asNginxConf(text, module) : asApacheConf(text));
      const missing = programs(text).map(
        (path) => `[ -e ${path} ] || install -D -m 755 /dev/null ${path}`,
      );
      await host.type(missing.join('\n'));
      const { status, output } = await host.type(command);
      t.equal(status, 0, `${page.name}:${block.line}`, { output });
    }
  }
  return checked;
}
