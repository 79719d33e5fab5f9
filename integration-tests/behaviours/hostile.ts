// SPDX-License-Identifier: Apache-2.0
// A worker that is taken over writes anything into the memory that it shares with its siblings and
// with workers of other servers. What it may cost, and what not. USHER_TEST_TRANSCRIPT=1 prints what
// was tried and what came of it.

import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { Load } from '../servers/load.ts';
import { isRunning } from '../servers/processes.ts';
import { scribble } from '../servers/scribbler.ts';
import { Site, type Texts } from '../servers/site.ts';
import { tellTranscript } from '../servers/transcript.ts';
import type { WebServer } from '../servers/web-server.ts';

const hostileMs = 6_000;
/** -queue-timeout, -appConnTimeout and -request-timeout below, in s. */
const timeoutS = 4;
/** No request may take longer, whatever happens: all timeouts, a retry, a loaded machine. */
const deadlineMs = 40_000;

const paths = ['/spared', '/kept', '/demand', '/dynamic.fcgi'];

const texts = (site: Site, bin: Record<'spared' | 'kept' | 'demand', string>): Texts => {
  const nginx = `queue_timeout=${timeoutS} app_conn_timeout=${timeoutS} request_timeout=${timeoutS}`;
  const apache = `-queue-timeout ${timeoutS} -appConnTimeout ${timeoutS} -request-timeout ${timeoutS}`;
  return {
    nginx: `
      usher_app ${bin.spared} processes=2 ${nginx};
      usher_app ${bin.kept} processes=2 ${nginx};
      usher_app ${bin.demand} on_demand=3 ${nginx};
      usher_config ${nginx};
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        include fastcgi_params;
        location /spared { usher_pass ${bin.spared}; }
        location /kept { usher_pass ${bin.kept}; }
        location /demand { usher_pass ${bin.demand}; }
        location / { usher_pass $document_root$uri; }
      }`,
    apache: `
      AppClass ${bin.spared} -processes 2 ${apache}
      AppClass ${bin.kept} -processes 2 ${apache}
      AppClass ${bin.demand} -on-demand 3 ${apache}
      FCGIConfig ${apache}
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /spared>
        UsherPass ${bin.spared}
      </Location>
      <Location /kept>
        UsherPass ${bin.kept}
      </Location>
      <Location /demand>
        UsherPass ${bin.demand}
      </Location>`,
  };
};

type Entry = { event: string } & Record<string, unknown>;

function logOf(site: Site): Entry[] {
  const lines = readFileSync(`${site.runtimeDir}/usher.log`, 'utf8').split('\n');
  return lines.filter(Boolean).map((line) => JSON.parse(line) as Entry);
}

async function readyPids(site: Site, name: string): Promise<number[]> {
  const instances = (await site.classStatus(name))?.instances ?? [];
  return instances.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
}

export async function hostile(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const bin = {
    spared: site.program('bin/spared'),
    kept: site.program('bin/kept'),
    demand: site.program('bin/demand'),
  };
  const dynamic = site.program('docs/dynamic.fcgi');
  const secret = site.program('private/secret.fcgi');
  const forbidden = [
    '/bin/sh',
    '/etc/passwd',
    '/usr/bin/perl',
    secret,
    `${site.docs}/../private/secret.fcgi`,
    `${site.docs}/../../../bin/sh`,
    '../../bin/sh',
    `${bin.kept}@another-server`,
    'a-class-of-another-server',
    '@4096',
  ];
  await site.start(texts(site, bin));
  for (const path of paths) t.equal((await site.request(path)).status, 200, `${path} is served`);
  const load = new Load(site.port, (index) => ({ path: paths[index % paths.length]! }));
  load.keptLosses = 1_000_000;
  load.pauseMs = 5;
  let done: string[] = [];

  await site.check('whatever a worker writes, manager and other workers go on', async (t) => {
    const { manager } = await site.status();
    const { workers } = site;
    const spared = (await readyPids(site, bin.spared)).sort();
    const seed = Number(process.env.USHER_TEST_SEED ?? Date.now());
    t.comment(`USHER_TEST_SEED=${seed}`);
    load.clients = 6;
    done = await scribble(site, { ms: hostileMs, seed, spared: bin.spared, keys: forbidden });

    t.same((await site.status()).manager, manager, 'the manager is the same');
    t.same(
      workers.filter((pid) => !isRunning(pid)),
      [],
      'no worker has ended',
    );
    t.same((await readyPids(site, bin.spared)).sort(), spared, 'a class left alone is as it was');
  });

  await site.check('then all classes are served as before', async (t) => {
    const endedMs = performance.now();
    for (const path of paths) {
      await eventually(`${path} is served 50 times in a row`, async () => {
        for (let i = 0; i < 50; i += 1) {
          const { status } = await site.request(path);
          if (status !== 200) throw new Error(`${status} after ${i} times`);
        }
        return true;
      });
    }
    t.pass(`after ${Math.round(performance.now() - endedMs)} ms, 200 requests included`);
    const { asked } = load;
    await eventually('what was asked meanwhile has ended', () => load.hasEndedBefore(asked));
    await load.stop();
    await site.settled();
  });

  await site.check('requests ended meanwhile with an answer, in time', async (t) => {
    t.ok(load.answered > 100, `${load.answered} of ${load.asked} were served`);
    const { losses } = load;
    const wrong = losses.filter(({ status }) => ![502, 503, 504].includes(status));
    t.same(wrong.slice(0, 10), [], 'those that were not got 502, 503 or 504');
    const longest = Math.max(0, ...losses.map(({ beganMs, endedMs }) => endedMs - beganMs));
    t.ok(longest < deadlineMs, `the longest took ${Math.round(longest)} ms`);
  });

  await site.check('nothing was started but what is configured', async (t) => {
    const log = logOf(site);
    const started = log.filter(({ event }) => event === 'instance.started');
    const known = [...Object.values(bin), dynamic];
    t.same(
      started.filter((entry) => !known.includes(String(entry.class))),
      [],
      'no instance of anything else',
    );
    t.same(site.starts(secret), [], 'nor without the manager’s knowledge');
    const refused = new Set(
      log.filter(({ event }) => event === 'class.refused').map((entry) => String(entry.class)),
    );
    t.ok(refused.has('/bin/sh') && refused.has(secret), 'it was asked for, and refused');
    t.equal(log.filter(({ event }) => event === 'manager.started').length, 1, 'one manager');
    t.ok(
      log.some(({ event }) => event === 'channel.damaged'),
      'the damage is told',
    );
  });

  tellTranscript(transcript(site, done, forbidden, load));
}

function transcript(site: Site, done: string[], forbidden: string[], load: Load): string[] {
  const log = logOf(site);
  const of = (name: string) => log.filter(({ event }) => event === name);
  const statuses = new Map<number, number>();
  for (const { status } of load.losses) statuses.set(status, (statuses.get(status) ?? 0) + 1);
  const refusals = new Map(of('class.refused').map((one) => [String(one.class), String(one.text)]));
  return [
    `${site.server.name}: a worker writes for ${hostileMs / 1000} s`,
    ...done.map((line) => `  ${line.trim()}`),
    'start requests for',
    ...forbidden.map((key) => `  ${key}: ${refusals.get(key) ?? 'never seen: too long for a key'}`),
    `requests: ${load.asked} made, ${load.answered} served`,
    ...[...statuses].map(([status, times]) => `  ${times} answered ${status}`),
    'the log says',
    ...of('channel.damaged').map((one) => `  ${one.times} times: ${one.text}`),
    `  ${of('instance.hung').length} instances were said to hang and replaced`,
  ];
}
