// SPDX-License-Identifier: Apache-2.0
// A servlet of JServ's zones that keeps sessions in its memory. Their ids end with the engine's route, which
// the web server names, or the initial argument `route`. Each request is noted in the file `journal` before
// it is answered, by the number that it has in its query.

import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { metadataOf } from '../../dist/runtime/index.js';

const sessions = new Map();
let journal = '';
let ownRoute = '';

export function init(given) {
  journal = given.journal;
  ownRoute = given.route ?? '';
}

function idOf(req) {
  const inPath = /;jsessionid=([^;/?]+)/.exec(req.url)?.[1];
  return inPath ?? /(?:^|; )JSESSIONID=([^;]+)/.exec(req.headers.cookie ?? '')?.[1];
}

export default async (req, res) => {
  const { searchParams } = new URL(req.url, 'http://servlet');
  const number = searchParams.get('n');
  if (number !== null) appendFileSync(journal, `${number}\n`);
  const { route, zone, servlet, scriptName, pathInfo } = metadataOf(req);
  let id = idOf(req);
  if (!sessions.has(id)) {
    id = `${randomUUID()}.${route ?? ownRoute}`;
    sessions.set(id, 0);
    res.setHeader('Set-Cookie', `JSESSIONID=${id}; Path=/`);
  }
  const visits = sessions.get(id) + 1;
  sessions.set(id, visits);
  const ms = Number(searchParams.get('ms'));
  if (ms > 0) await sleep(ms);
  const said = { session: id, visits, at: ownRoute, route, zone, servlet, scriptName, pathInfo };
  const lines = Object.entries({ ...said, pid: process.pid });
  res.end(lines.map(([name, value]) => `${name}=${value}\n`).join(''));
};
