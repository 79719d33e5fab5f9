// SPDX-License-Identifier: Apache-2.0
// The manual, worked through: every command of README.md and docs/ is run on a Debian of its own, and prints
// what the page says. docs/README.md tells authors how pages are read, and lists what is not run.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { checkConfigurations } from './manual/check-configuration.ts';
import { isCommands, readPage } from './manual/page.ts';
import { whyNoPrivateRoot } from './manual/private-root.ts';
import { blocksFor, runPage } from './manual/run-page.ts';
import { root } from './servers/checkout.ts';

const names = readdirSync(`${root}/docs`, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`)
  .sort();
const pages = ['README.md', ...names].map((name) => readPage(root, name));
const only = process.env.USHER_TEST_PAGES?.split(' ');
const tried = pages.filter(({ name }) => only === undefined || only.includes(name));
const why = await whyNoPrivateRoot();
const servers = ['nginx', 'Apache'] as const;

const runs = tried.flatMap((page) => {
  const runnable = page.blocks.filter((block) => isCommands(block) && block.notRun === undefined);
  if (runnable.length === 0) return [];
  const isForBoth = page.blocks.some(({ server }) => server !== undefined);
  return servers
    .slice(0, isForBoth ? 2 : 1)
    .filter((server) => blocksFor(page, server).some((block) => runnable.includes(block)))
    .map((server) => ({ page, server }));
});

t.test('docs/README.md lists what is not run, and no more', async (t) => {
  const list = readFileSync(`${root}/docs/README.md`, 'utf8');
  const listed = [...list.matchAll(/^\| \[([^\]]+)\]\([^)]+\) \| `(.+)`(?: …)? \| (.+) \|$/gm)];
  const marked = pages.flatMap(({ name, blocks }) =>
    blocks
      .filter((block) => block.notRun !== undefined)
      .map(({ text, notRun }) => [
        name.replace(/^docs\//, '').replace(/\.md$/, ''),
        text.split('\n')[0],
        notRun,
      ]),
  );
  t.same(listed.map(([, ...cells]) => cells).sort(), marked.sort());
});

t.test('commands stand in blocks that are read as such', async (t) => {
  for (const { name, blocks } of pages) {
    const others = blocks
      .filter((block) => !isCommands(block) && block.path === undefined)
      .filter(({ language, text }) => /^(bash|shell)$/.test(language) || /^\$ /m.test(text));
    t.same(others, [], name);
  }
});

t.test('a page that is wrong is found out', why === '' ? {} : { skip: why }, async (t) => {
  const directory = mkdtempSync('/tmp/usher-manual-pages-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const fence = '```';
  for (const [what, text] of [
    ['a command that fails', `${fence}sh\ntrue\nfalse\ntrue\n${fence}`],
    ['a command that is not there', `${fence}console\n$ no-such-command\n${fence}`],
    ['other output', `${fence}console\n$ printf 'a\\nb\\n'\na\n${fence}`],
    ['output that is missing', `${fence}console\n$ true\n… a\n${fence}`],
    ['a file in a directory that is not there', `\`/srv/none/a\`\n\n${fence}\nx\n${fence}`],
    ['a package that is not installed', `${fence}sh\napt-get install -y no-such\n${fence}`],
  ] as const) {
    writeFileSync(`${directory}/page.md`, text);
    const seen: string[] = [];
    await runPage(
      {
        pass: (name) => void seen.push(`passed ${name}`),
        fail: (name) => void seen.push(`failed ${name}`),
        teardown: t.teardown.bind(t),
      },
      readPage(directory, 'page.md'),
      'nginx',
    );
    t.match(seen, [/^failed page\.md:/], what);
  }
});

for (const server of servers) {
  const options = why === '' ? {} : { skip: why };
  t.test(`configurations for ${server}`, { ...options, buffered: true }, async (t) => {
    t.comment(`${await checkConfigurations(t, tried, server)} configurations`);
  });
}
// Each has a machine of its own.
t.jobs = 2;
for (const { page, server } of runs) {
  const options = why === '' ? {} : { skip: why };
  t.test(`${page.name}, ${server}`, { ...options, buffered: true }, async (t) => {
    t.comment(`${await runPage(t, page, server)} commands`);
  });
}
