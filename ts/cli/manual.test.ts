// SPDX-License-Identifier: Apache-2.0
// What the manual (README.md, docs/) says, as far as it can be known without running anything: its commands and
// their options exist, every directive stands in it, its links lead somewhere. What its commands do is tried by
// integration-tests/manual.test.ts.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { usher } from './testing/usher.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const inDocs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);
const others = ['ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'];
const pages = ['README.md', ...inDocs, ...others].map((name) => ({ name, text: read(name) }));
const manual = pages.filter(({ name }) => !others.includes(name));

/** Without fenced blocks: they may hold anything. */
const prose = (text: string): string => text.replaceAll(/^```[\s\S]*?^```$/gm, '');

/** Command lines of the text: in blocks and between backquotes. */
function commandLines(text: string): string[] {
  const inBlocks = [...text.matchAll(/^(?:\$ )?(?:bin\/)?usher ([a-z].*)$/gm)];
  const inText = [...prose(text).matchAll(/`(?:bin\/)?usher ([a-z][^`]*)`/g)];
  return [...inBlocks, ...inText].map(([, words = '']) => words.replace(/ #.*| [|>&].*/, ''));
}

t.test('commands and their options exist', async (t) => {
  const helps = new Map<string, string>();
  let checked = 0;
  for (const { name, text } of manual) {
    for (const line of commandLines(text)) {
      const words = line.split(/\s+/);
      const command = words[0] === 'config' ? words.slice(0, 2) : words.slice(0, 1);
      if (!command.every((word) => /^[a-z-]+$/.test(word))) continue;
      const key = command.join(' ');
      if (!helps.has(key)) {
        const { exitCode, out } = await usher([...command, '--help']);
        helps.set(key, exitCode === 0 ? out : '');
      }
      const help = helps.get(key) ?? '';
      t.ok(help.includes(`Usage: usher ${key}`), `${name}: usher ${line}: there is such a command`);
      // Behind this the words are the program's own.
      const own = key === 'jserv' ? words.slice(0, words.indexOf('--')) : words;
      for (const word of own) {
        const option = /^(--[a-z-]+|-[a-zA-Z])(?:=.*)?$/.exec(word)?.[1];
        if (option === undefined || option === '--help') continue;
        checked += 1;
        t.match(help, new RegExp(`(^| )${option}\\b`, 'm'), `${name}: usher ${line}: ${option}`);
      }
    }
  }
  t.ok(helps.size > 15 && checked > 10, `${helps.size} commands, ${checked} options`);
});

t.test('every directive stands in the manual', async (t) => {
  const text = manual.map((page) => page.text).join('\n');
  const nginx = [
    ...read('nginx/ngx_http_usher_module.c').matchAll(/\{ ngx_string\("(usher_\w+)"\),$/gm),
  ];
  const apache = readdirSync(join(root, 'apache'))
    .filter((name) => /\.(c|h|def)$/.test(name))
    .flatMap((name) => [
      ...read(`apache/${name}`).matchAll(
        /"((?:AppClass|ExternalAppClass|FCGIConfig)|(?:FastCgi|Fcgid|Usher)[A-Z]\w+)"/g,
      ),
    ]);
  const names = new Set([...nginx, ...apache].map(([, name = '']) => name));
  t.ok(names.has('usher_pass') && names.has('UsherPass') && names.size > 40, `${names.size}`);
  for (const name of names) t.ok(new RegExp(`\\b${name}\\b`).test(text), name);
});

/** As forges make them of headings. */
function anchors(text: string): Set<string> {
  const headings = [...prose(text).matchAll(/^#+ (.*)$/gm)].map(([, words = '']) => words);
  const slug = (words: string): string =>
    words
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
  return new Set(headings.map(slug));
}

t.test('rules for Prometheus use metrics that there are', async (t) => {
  const known = new Set(read('docs/metrics.md').match(/\busher_[a-z_]+/g));
  const inRules = /```yaml\n([\s\S]*?)```/.exec(read('docs/operating.md'))?.[1] ?? '';
  const names = [...inRules.matchAll(/\busher_[a-z_]+/g)].map(([name]) =>
    name.replace(/_bucket$/, ''),
  );
  t.ok(names.length > 5);
  t.same(
    [...new Set(names)].filter((name) => !known.has(name)),
    [],
  );
});

t.test('links lead to files and headings that are there', async (t) => {
  for (const { name, text } of pages) {
    const wrong = [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? name : join(dirname(name), path);
        if (!existsSync(join(root, file))) return true;
        return anchor !== undefined && !anchors(read(file)).has(anchor);
      });
    t.same(wrong, [], name);
  }
});

t.test('the index names every page', async (t) => {
  const index = read('docs/README.md');
  const missing = inDocs
    .map((name) => name.replace(/^docs\//, ''))
    .filter((name) => name !== 'README.md' && !index.includes(`(${name})`));
  t.same(missing, []);
  t.match(read('README.md'), '(docs/README.md)', 'and is named by README.md');
});
