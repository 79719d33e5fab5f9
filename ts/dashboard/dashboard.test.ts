// SPDX-License-Identifier: Apache-2.0
// The page in a real browser, which asks a manager that says what the test wants.
import { existsSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { sampleClass, sampleEvent } from '../control/testing/sample.ts';
import { createDashboard } from './server.ts';
import { busyHour, FakeManager, someClasses, someEvents } from './testing/fake-manager.ts';

const executablePath = ['chromium-headless-shell', 'chromium']
  .map((name) => `/usr/bin/${name}`)
  .find((path) => existsSync(path));
if (executablePath === undefined) throw new Error('no chromium: run "npm run setup -- --for=test"');

/** For what takes a moment on an idle machine. */
const patience = { timeout: 60_000 };

/** Run in the browser. */
const nameOfFocus =
  'document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent';
const sidewaysPx = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';

let browser: Browser;

interface Looking {
  manager: FakeManager;
  page: Page;
  port: number;
  /** What a page must not do: errors, and requests to anybody else. */
  faults: string[];
}

async function serve(t: Test, manager = new FakeManager()) {
  const server = createDashboard({ ask: (url) => manager.answer(url), anyHost: false });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { manager, port: (server.address() as AddressInfo).port };
}

async function look(t: Test, options: Parameters<Browser['newPage']>[0] = {}): Promise<Looking> {
  const { manager, port } = await serve(t);
  manager.classes = someClasses();
  manager.events = someEvents();
  manager.history = busyHour();
  const page = await browser.newPage(options);
  page.setDefaultTimeout(patience.timeout);
  t.teardown(() => page.close());
  const faults: string[] = [];
  page.on('pageerror', ({ message }) => faults.push(message));
  page.on('console', (said) => {
    if (said.type() !== 'error' && said.type() !== 'warning') return;
    if (!manager.isGone) faults.push(said.text());
  });
  page.on('request', (request) => {
    const { host } = new URL(request.url());
    if (host !== `127.0.0.1:${port}`) faults.push(`asks ${request.url()}`);
  });
  return { manager, page, port, faults };
}

async function open({ page, port }: Looking, hash = ''): Promise<void> {
  await page.goto(`http://127.0.0.1:${port}/${hash}`);
  await page.locator('#connection[data-state=live]').waitFor();
  await page.locator('#charts canvas').nth(3).waitFor();
}

function texts(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allInnerTexts();
}

async function tiles(page: Page): Promise<Record<string, string>> {
  const titles = await texts(page, '.tile dt');
  const values = await texts(page, '.tile dd');
  return Object.fromEntries(titles.map((title, i) => [title, values[i] ?? '']));
}

t.before(async () => {
  // Its own sandbox needs rights that a container does not give; it sees our pages only.
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
});
t.teardown(() => browser.close());

t.test('what it shows is what the manager says', async (t) => {
  const looking = await look(t);
  const { page, manager, faults } = looking;
  await open(looking);
  t.same(await tiles(page), {
    Classes: '5',
    Failed: '1',
    'Instances ready': '7 of 8',
    Requests: `${(manager.history.requests.at(-1) ?? 0) / 10} /s`,
    'In flight': '8',
    Waiting: '2',
    Memory: '255 MB',
  });
  t.same(
    await texts(page, 'tbody th a'),
    ['search', 'php', 'shop', '/srv/www/cgi-bin/mapserv', 'reports'],
    'what has failed comes first, then what has most to do',
  );
  const cells = await texts(page, 'tr[data-key=php] td');
  t.same(cells, ['ready', '5 of 6', '4', '2', '184,201', '3']);
  t.match(await texts(page, '.why'), [/^exited with status 127/]);
  t.match((await texts(page, '.events li'))[0], /backend down[\s\S]*connection refused/);
  t.same(await texts(page, '.chart output'), [
    `${(manager.history.requests.at(-1) ?? 0) / 10}/s now`,
    ...(['inFlight', 'waiting', 'instances'] as const).map((of) => {
      return `${manager.history[of].at(-1)} now`;
    }),
  ]);
  t.match(await texts(page, '#manager'), ['manager 99, version 0.1.0, for 2 h']);
  t.equal(await page.title(), 'Usher (1 failed)');
  t.same(faults, []);
});

t.test('it follows the manager', async (t) => {
  const looking = await look(t);
  const { page, manager, faults } = looking;
  await open(looking);
  await page.locator('#search').fill('stat ph');
  t.same(await texts(page, 'tbody th a'), ['php'], 'what is looked for');
  manager.classes = [
    sampleClass({ name: 'php', inFlight: 77, waiting: 0 }),
    ...someClasses().slice(1),
  ];
  manager.events = [...manager.events, sampleEvent({ number: 8, event: 'php.moved', text: 'x' })];
  await page.getByText('77', { exact: true }).first().waitFor();
  await page.getByText('php moved').waitFor();
  t.same(await texts(page, 'tbody th a'), ['php']);
  t.equal(await page.locator('#search').inputValue(), 'stat ph');
  t.equal(await page.evaluate('document.activeElement.id'), 'search');
  manager.startedAt = new Date().toISOString();
  manager.events = [sampleEvent({ event: 'manager.ready', text: 'another one' })];
  await page.getByText('another one').waitFor();
  t.equal((await texts(page, '.events li')).length, 1, 'another manager counts its events anew');
  t.ok(manager.asked.includes('/v1/events?after=8'), 'only new ones are asked for');
  t.same(faults, []);
});

t.test('a class that cannot start', async (t) => {
  const looking = await look(t);
  const { page, faults } = looking;
  await open(looking);
  await page.getByRole('link', { name: 'search', exact: true }).click();
  await page.getByRole('heading', { name: 'search', exact: true }).waitFor();
  await page.getByText('Install what has libxapian.so.30').waitFor();
  t.match(await texts(page, '.notice.is-bad'), [/gets 503/]);
  t.match(await texts(page, '.steps li'), [/endpoint/, /exec/, /ready[\s\S]*exited/]);
  t.match(await texts(page, '.journey pre'), [/cannot open shared object file/]);
  await page.getByText('What it ran as and in').click();
  await page.getByText('DB_PASSWORD=***').waitFor();
  await page.waitForResponse((response) => response.url().includes('/api/explain'));
  t.ok(await page.getByText('DB_PASSWORD=***').isVisible(), 'what is unfolded stays so');
  await page.getByRole('link', { name: 'All classes' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  t.same(faults, []);
});

t.test('names and texts are never read as HTML', async (t) => {
  const looking = await look(t);
  const { page, manager, faults } = looking;
  const evil = '/srv/<img src=x onerror=alert(1)>&amp;"\'.fcgi';
  const failure = someClasses()[3]?.lastFailure ?? null;
  manager.classes = [
    sampleClass({
      ...{ name: evil, state: 'failed' },
      lastFailure: failure && { ...failure, output: evil, explanation: evil, hint: evil },
    }),
  ];
  manager.events = [sampleEvent({ class: evil, text: evil, event: evil })];
  await open(looking);
  t.same(await texts(page, 'tbody th a'), [evil]);
  await page.locator('tbody th a').click();
  await page.getByRole('heading', { level: 1, name: evil }).waitFor();
  t.equal((await texts(page, '.journey pre'))[0], evil);
  t.equal(await page.locator('main img').count(), 0);
  t.same(faults, []);
});

t.test('when nobody answers', async (t) => {
  const looking = await look(t);
  const { page, manager } = looking;
  await open(looking);
  manager.isGone = true;
  await page.locator('#connection[data-state=lost]').waitFor();
  t.equal(await page.locator('#connection').textContent(), 'connection lost');
  t.equal(await page.locator('#connection').getAttribute('role'), 'status', 'it is read aloud');
  t.ok((await texts(page, 'tbody th a')).length > 0, 'what was seen last stays');
  manager.isGone = false;
  await page.locator('#connection[data-state=live]').waitFor();
  t.equal(await page.locator('body.is-stale').count(), 0);
});

t.test('by keyboard only', async (t) => {
  const looking = await look(t);
  const { page } = looking;
  await open(looking);
  const reached: unknown[] = [];
  for (let i = 0; i < 10; i += 1) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(nameOfFocus));
  }
  t.same(reached.map((text) => String(text).trim()).slice(0, 6), [
    'To the content',
    'Usher',
    'Find classes',
    'Classes',
    'search',
    'php',
  ]);
  await page.getByRole('link', { name: 'php', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'php' }).waitFor();
  t.equal(await page.evaluate('document.activeElement.id'), 'main');
  const headings = await page.locator('h1, h2').allInnerTexts();
  t.same(headings, ['php', 'The last hour', 'Instances, 6 wanted', 'Last events']);
});

t.test('on a phone, in the dark, with two hundred classes, and empty', async (t) => {
  const looking = await look(t, { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  const { page, manager, faults } = looking;
  await open(looking);
  const overflow = () => page.evaluate(sidewaysPx);
  t.equal(await overflow(), 0);
  await open(looking, '#/class/search');
  t.equal(await overflow(), 0);
  manager.classes = Array.from({ length: 200 }, (_, i) => sampleClass({ name: `site-${i}` }));
  await open(looking, '#/');
  await page.getByText('site-199').waitFor();
  t.equal(await page.locator('tbody tr').count(), 200);
  t.equal(await overflow(), 0);
  const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
  t.equal(ground, 'rgb(15, 18, 27)');
  manager.classes = [];
  manager.events = [];
  manager.history = { ...manager.history, requests: [], inFlight: [], waiting: [], instances: [] };
  await page.getByText('No class is configured').waitFor();
  t.same(faults, []);
});

t.test('it only shows, and only to this machine', async (t) => {
  const { manager, port } = await serve(t);
  const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; policy: unknown; text: string }>((resolve, reject) => {
      const asked = httpRequest({ port, host: '127.0.0.1', method, path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            policy: response.headers['content-security-policy'],
            text,
          }),
        );
      });
      asked.on('error', reject).end();
    });
  t.match(await ask('GET', '/'), { status: 200, policy: /^default-src 'self'/ });
  t.match(await ask('HEAD', '/style.css'), { status: 200, text: '' });
  t.equal((await ask('GET', '/', { host: `evil.example:${port}` })).status, 403);
  t.equal((await ask('POST', '/api/stop')).status, 405);
  for (const path of [
    '/../package.json',
    '/%2e%2e/server.js',
    '/vendor/',
    '/index.html.map',
    '//',
  ]) {
    t.equal((await ask('GET', path)).status, 404, path);
  }
  t.equal(manager.asked.length, 0);
});
