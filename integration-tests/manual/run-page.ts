// SPDX-License-Identifier: Apache-2.0
// A page as somebody works through it who has one of the web servers: files are written, commands typed.

import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../servers/checkout.ts';
import { patienceMs } from '../servers/eventually.ts';
import { type Block, isCommands, type Page, pattern, type Server, stepsOf } from './page.ts';
import { PrivateRoot } from './private-root.ts';

/** Commands that only look: what they show may need a moment to become what the page says. */
const looks =
  /^(curl (?!.*( -[dFTX]|--data))|usher (status|doctor|top|explain|logs|--|config)|journalctl|cat|tail|grep|head|ss|ps|ls|systemctl status)/;

/** For each block of the page that somebody with this server needs. */
export function blocksFor(page: Page, server: Server): Block[] {
  return page.blocks.filter((block) => block.server === undefined || block.server === server);
}

/** What runs until Ctrl-C gets a terminal of its own. */
function inBackground(text: string): string {
  return text.replaceAll(
    /^(usher (\w+)[^#\n]*)#.*until Ctrl-C.*$/gm,
    (_, command: string, name: string) =>
      `${command} >/run/terminal 2>&1 &\n` +
      (name === 'run'
        ? 'until usher status; do sleep 0.1; done'
        : 'until [ -s /run/terminal ]; do sleep 0.1; done'),
  );
}

async function logs(host: PrivateRoot): Promise<string> {
  const files =
    '/var/log/nginx/error.log /var/log/apache2/error.log /run/usher/usher.log /run/terminal';
  return (await host.type(`tail -n 4 ${files} 2>/dev/null | cut -c1-400`)).output;
}

/** What of a test is used here. */
export interface Verdicts {
  pass(name: string): unknown;
  fail(name: string, details: Record<string, string>): unknown;
  teardown(action: () => Promise<void>): unknown;
}

class Run {
  commands = 0;
  readonly #t: Verdicts;
  readonly #page: Page;
  readonly #host: PrivateRoot;

  constructor(t: Verdicts, page: Page, host: PrivateRoot) {
    this.#t = t;
    this.#page = page;
    this.#host = host;
  }

  /** @returns whether the reader can go on */
  async block(block: Block): Promise<boolean> {
    const at = `${this.#page.name}:${block.line}`;
    if (block.path !== undefined) {
      const { status, output } = await this.#host.write(block.path, block.text);
      return this.#judge(status === 0, `${at}: ${block.path}`, output);
    }
    return block.language === 'sh' ? this.#script(block, at) : this.#console(block);
  }

  async #script(block: Block, at: string): Promise<boolean> {
    const joined = block.text.replaceAll('\\\n', '');
    this.commands += joined.split('\n').filter((line) => /^[^#\s}]/.test(line)).length;
    const { status, output } = await this.#host.type(`set -e\n${inBackground(block.text)}\nset +e`);
    return this.#judge(status === 0, `${at}: ${block.text.split('\n')[0]}`, output);
  }

  async #console(block: Block): Promise<boolean> {
    for (const { command, output, line } of stepsOf(block)) {
      this.commands += 1;
      const expected = pattern(output);
      const deadline = performance.now() + (looks.test(command) ? patienceMs : 0);
      let isRight = false;
      let seen = '';
      do {
        if (seen !== '') await sleep(100);
        const outcome = await this.#host.type(command);
        seen = `${outcome.output.trimEnd()}\n`;
        isRight = output === '' ? outcome.status === 0 : expected.test(seen);
      } while (!isRight && performance.now() < deadline);
      const why = `printed\n${seen}and the page has\n${output}`;
      if (!(await this.#judge(isRight, `${this.#page.name}:${line}: ${command}`, why)))
        return false;
    }
    return true;
  }

  async #judge(isRight: boolean, name: string, why: string): Promise<boolean> {
    if (isRight) this.#t.pass(name);
    else this.#t.fail(name, { why, logs: await logs(this.#host) });
    return isRight;
  }
}

/** @returns how many commands were typed */
export async function runPage(t: Verdicts, page: Page, server: Server): Promise<number> {
  const host = new PrivateRoot(t, server);
  const run = new Run(t, page, host);
  // What the page takes for granted: programs and classes that its examples speak of.
  const before = `integration-tests/manual/before/${page.name.replaceAll('/', '-').replace(/md$/, 'sh')}`;
  if (existsSync(`${root}/${before}`)) {
    const text = readFileSync(`${root}/${before}`, 'utf8');
    const { status, output } = await host.type(`server=${server}\nset -e\n${text}\nset +e`);
    if (status !== 0) {
      t.fail(before, { output, logs: await logs(host) });
      return 0;
    }
  }
  for (const block of blocksFor(page, server)) {
    if (block.notRun !== undefined || (block.path === undefined && !isCommands(block))) continue;
    if (!(await run.block(block))) break;
  }
  return run.commands;
}
