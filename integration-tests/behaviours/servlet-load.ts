// SPDX-License-Identifier: Apache-2.0
// Two servlet engines under load: nobody gets the answer to another's request, whoever leaves when, and
// both can be restarted, one after the other, without a request being lost.

import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { eventually, within } from '../servers/eventually.ts';
import { Site } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import { type BackendStatus, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';
import { configuration, type Engines } from './servlet-faults.ts';

const taggers = 24;
const requestsEach = 40;
const answerWithinMs = 60_000;

/** When a client leaves: before an answer, in the middle of it, in the middle of what it sends. */
type Leaving = 'never' | 'early' | 'reading' | 'sending';

interface Tagged {
  tag: string;
  lines: number;
  body: string;
  isChunked: boolean;
  leaving: Leaving;
}

function oneOf<T>(choices: readonly T[]): T {
  return choices[randomInt(choices.length)] as T;
}

function tagged(mayLeave: boolean): Tagged {
  const tag = randomBytes(8).toString('hex');
  const body = randomInt(2) === 0 ? '' : `${tag}\n`.repeat(randomInt(1, 6000));
  const leaving =
    mayLeave && randomInt(2) === 0 ? oneOf<Leaving>(['early', 'reading', 'sending']) : 'never';
  return { tag, body, isChunked: randomInt(2) === 0, lines: oneOf([0, 10, 6000]), leaving };
}

/** What came of it: the status, 0 when there was none, and all that was heard. */
function ask(
  site: Site,
  agent: http.Agent,
  request: Tagged,
): Promise<[status: number, text: string]> {
  const { tag, body, isChunked, lines, leaving } = request;
  return new Promise((resolve) => {
    let status = 0;
    let text = '';
    const length = isChunked
      ? { 'Transfer-Encoding': 'chunked' }
      : { 'Content-Length': body.length };
    const sent = http.request({
      host: '127.0.0.1',
      port: site.port,
      path: `/pair/tagged.jsp?tag=${tag}&lines=${lines}`,
      method: body === '' ? 'GET' : 'POST',
      headers: { 'X-Tag': tag, ...(body === '' ? {} : length) },
      agent,
    });
    sent.on('error', () => undefined);
    sent.on('close', () => resolve([status, text]));
    sent.on('response', (response) => {
      status = response.statusCode ?? 0;
      response.setEncoding('latin1');
      response.on('error', () => undefined);
      response.on('data', (piece: string) => {
        text += piece;
        if (leaving === 'reading') sent.destroy();
      });
    });
    const half = Math.floor(body.length / 2);
    if (leaving === 'sending') sent.write(body.slice(0, half));
    else sent.end(body);
    if (leaving === 'early' || leaving === 'sending')
      setTimeout(() => sent.destroy(), randomInt(30));
  });
}

interface Tally {
  answered: number;
  left: number;
  wrong: string[];
}

async function tagger(site: Site, mayLeave: boolean, tally: Tally): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < requestsEach; i++) {
    const request = tagged(mayLeave);
    const { tag, lines, leaving } = request;
    const [status, text] = await within(
      `answer to ${tag}`,
      ask(site, agent, request),
      answerWithinMs,
    );
    const whole = `${tag};${tag};${request.body === '' ? '' : tag}\n${`${tag}\n`.repeat(lines)}`;
    const isOurs = leaving === 'never' ? text === whole : whole.startsWith(text);
    if (!isOurs || status !== (leaving === 'never' ? 200 : status && 200)) {
      tally.wrong.push(`${tag}, ${leaving}: ${status} ${text.slice(0, 100)}`);
    }
    if (leaving === 'never') tally.answered++;
    else tally.left++;
  }
  agent.destroy();
}

/** Connections that somebody has to it. */
function connectionsTo({ address }: Tomcat): number {
  const port = Number(address.split(':')[1]).toString(16).toUpperCase().padStart(4, '0');
  const isOpen = new RegExp(`^\\s*\\d+: \\S+ \\S+:${port} 01 `);
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .filter((line) => isOpen.test(line)).length;
}

/** Makes one request after the other in a session of its own. */
class Visitor {
  readonly #site: Site;
  /** After so many requests it forgets its session. */
  readonly #stay: number;
  id = '';
  asked = 0;
  readonly lost: string[] = [];
  /** Routes that its session has left. */
  readonly left: string[] = [];
  #count = 0;

  constructor(site: Site, stay: number) {
    this.#site = site;
    this.#stay = stay;
  }

  get route(): string {
    return this.id.slice(this.id.lastIndexOf('.') + 1);
  }

  forget(): void {
    this.id = '';
    this.#count = 0;
  }

  async ask(): Promise<void> {
    if (this.#count >= this.#stay) this.forget();
    const isPost = this.asked++ % 2 === 0;
    const { id } = this;
    const answer = await this.#site
      .request('/pair/session.jsp', {
        ...(isPost ? { method: 'POST', body: 'x'.repeat(100) } : {}),
        headers: id === '' ? [] : [['Cookie', `JSESSIONID=${id}`]],
      })
      .catch((error: Error) => error);
    if (answer instanceof Error || answer.status !== 200 || answer.fields.id === undefined) {
      this.lost.push(answer instanceof Error ? answer.message : `${answer.status} ${answer.text}`);
      return;
    }
    const { fields } = answer;
    if (id !== '' && fields.id !== id) {
      this.left.push(this.route);
      this.forget();
    }
    this.id = fields.id as string;
    this.#count++;
    if (Number(fields.count) !== this.#count) this.lost.push(`${fields.count}, not ${this.#count}`);
  }
}

export async function servletLoad(
  t: Test,
  server: WebServer,
  { a, b, secret }: Omit<Engines, 'small'>,
): Promise<void> {
  const site = await Site.create(t, server);
  site.file('secret', `${secret}\n`, 0o600);
  await site.start(
    configuration(
      site,
      {
        pair: {
          host: [`${a.address},route=a`, `${b.address},route=b`],
          'secret-file': `${site.dir}/secret`,
          'recover-time': 1,
          'connection-pool-timeout': 1,
        },
      },
      'fastcgi_buffering off; fastcgi_request_buffering off;',
    ),
  );
  const backend = async ({ address }: Tomcat): Promise<BackendStatus | undefined> =>
    (await site.classStatus('pair'))?.backends.find((one) => one.address === address);
  const change = async ({ address }: Tomcat, activation: string): Promise<void> => {
    const command = ['backend', 'pair', address, activation];
    const { status, output } = await usherCommand(site.runtimeDir, ...command);
    if (status !== 0) throw new Error(`usher ${command.join(' ')}: ${status} ${output}`);
  };

  await site.check('nobody gets an answer to another', async (t) => {
    const tally: Tally = { answered: 0, left: 0, wrong: [] };
    const all = Array.from({ length: taggers }, (_, i) => tagger(site, i % 3 === 0, tally));
    await Promise.all(all);
    t.same(tally.wrong, []);
    t.ok(tally.left > 0);
    t.comment(`${tally.answered} whole answers, ${tally.left} clients left`);
    await site.settled();
    for (const tomcat of [a, b]) {
      const isIdle = async (): Promise<boolean> => (await backend(tomcat))?.inFlight === 0;
      await eventually('nothing is in progress', isIdle);
      const status = await backend(tomcat);
      t.ok(status?.requests, 'both had some');
      t.equal(status?.failures, 0, 'who leaves is not a failure of the backend');
      await eventually('no connection is left', () => connectionsTo(tomcat) === 0);
    }
  });

  await site.check('Tomcats are restarted one after the other', async (t) => {
    const passing = Array.from({ length: 8 }, () => new Visitor(site, 6));
    const staying = Array.from({ length: 4 }, () => new Visitor(site, Number.POSITIVE_INFINITY));
    const visitors = [...passing, ...staying];
    for (const [i, visitor] of staying.entries()) {
      const route = i < 2 ? 'a' : 'b';
      // Whoever has served more gets none until the other one has served as many: some hundreds.
      await eventually(
        `a new session at ${route}`,
        async () => {
          for (let tries = 0; tries < 100 && visitor.route !== route; tries += 1) {
            visitor.forget();
            await visitor.ask();
          }
          return visitor.route === route;
        },
        60_000,
      );
    }
    let isOver = false;
    const load = visitors.map(async (visitor) => {
      while (!isOver) {
        await visitor.ask();
        await sleep(10);
      }
    });
    /** Nor on the way there: since the call each has begun and ended a request at least. */
    const nobodyAt = (among: Visitor[], route: string): Promise<unknown> => {
      const asked = new Map(among.map((one) => [one, one.asked]));
      return eventually(`nobody is at ${route}`, () =>
        among.every((one) => one.route !== route && one.asked > (asked.get(one) ?? 0) + 2),
      );
    };
    let moved = 0;
    try {
      for (const [tomcat, route] of [
        [b, 'b'],
        [a, 'a'],
      ] as const) {
        await change(tomcat, 'disabled');
        await nobodyAt(passing, route);
        const stayed = staying.filter((one) => one.route === route).length;
        t.ok(stayed > 0, 'sessions stay where they are');
        await change(tomcat, 'stopped');
        await nobodyAt(staying, route);
        await eventually(
          'no request is there',
          async () => (await backend(tomcat))?.inFlight === 0,
        );
        await tomcat.stop();
        await tomcat.start();
        await change(tomcat, 'active');
        await eventually('new sessions begin there', () =>
          passing.some((one) => one.route === route),
        );
        moved += stayed;
        t.equal(staying.flatMap(({ left }) => left).length, moved, 'its sessions alone have moved');
      }
    } finally {
      isOver = true;
      await Promise.all(load);
    }
    const asked = visitors.reduce((sum, visitor) => sum + visitor.asked, 0);
    t.same(
      visitors.flatMap(({ lost }) => lost),
      [],
      'nothing is lost',
    );
    t.same(
      passing.flatMap(({ left }) => left),
      [],
      'sessions that end meanwhile never move',
    );
    t.comment(`${asked} requests, none lost, ${moved} sessions moved`);
    await site.settled();
  });
  await site.end();
}
