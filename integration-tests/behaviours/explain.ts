// SPDX-License-Identifier: Apache-2.0
// Programs that cannot start, each for another reason: what `usher explain`, the error log and the
// browser are told; and what nobody is told.

import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import type { Test } from 'tap';
import { usher } from '../servers/checkout.ts';
import type { Answer } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { nginx } from '../servers/nginx.ts';
import { isRoot, Site, uidOf } from '../servers/site.ts';
import { startInBackground, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

interface Journey {
  id: string;
  cause: string | null;
  outcome: string;
  explanation: string;
  hint: string;
  output: string;
  steps: { name: string; ms: number; error?: string }[];
  setting: { user: string; cwd: string; limits: string[]; environment: string[] };
}

interface Explanation {
  state: string;
  now: string;
  nextTryAt: string | null;
  journeys: Journey[];
}

const secret = 'correct-horse-battery';

async function explain(site: Site, of: string): Promise<Explanation> {
  const { status, output } = await usherCommand(site.runtimeDir, 'explain', of, '--json');
  if (status !== 0) throw new Error(`usher explain ended with ${status}: ${output}`);
  return JSON.parse(output) as Explanation;
}

// ---- causes

/** A program whose libraries are called otherwise than those of this machine. */
function unlinked(): Buffer {
  const bytes = readFileSync('/bin/true');
  const at = bytes.indexOf('libc.so.6\0');
  if (at < 0) throw new Error('/bin/true is not linked with libc.so.6');
  bytes.write('libx', at);
  return bytes;
}

interface Failing {
  cause: string;
  /** Behind AppClass NAME. */
  options: string;
  told: RegExp;
}

function failingClasses(site: Site, user: string): Failing[] {
  const script = (name: string, text: string | Buffer, mode = 0o755) =>
    site.file(`bin/${name}`, text, mode);
  const shell = (text: string) => `-command "/bin/sh -c '${text}'"`;
  mkdirSync(`${site.dir}/locked/inner`, { recursive: true });
  site.file('locked/inner/program', '#!/bin/sh\n', 0o755);
  chmodSync(`${site.dir}/locked`, isRoot ? 0o700 : 0o600);
  const locked = `${site.dir}/locked/inner`;
  return [
    {
      cause: 'file-missing',
      options: `-command ${site.dir}/no/program`,
      told: /no does not exist/,
    },
    { cause: 'is-directory', options: '-command /usr', told: /it is a directory/ },
    {
      cause: 'not-executable',
      options: `-command ${script('plain', '#!/bin/sh\n', 0o644)}`,
      told: /mode 0644/,
    },
    {
      cause: 'interpreter-missing',
      options: `-command ${script('lost', '#!/no/perl\n')}`,
      told: /\/no\/perl/,
    },
    {
      cause: 'interpreter-crlf',
      options: `-command ${script('crlf', '#!/bin/sh\r\n')}`,
      told: /CR LF/,
    },
    {
      cause: 'interpreter-crlf',
      options: `-command ${script('env-crlf', '#!/usr/bin/env perl\r\n')}`,
      told: /status 127/,
    },
    {
      cause: 'interpreter-missing',
      options: `-command ${script('env', '#!/usr/bin/env no-perl\n')}`,
      told: /no-perl/,
    },
    { cause: 'no-program', options: `-command ${script('text', 'hello\n')}`, told: /no #! line/ },
    {
      cause: 'library-missing',
      options: `-command ${script('unlinked', unlinked())}`,
      told: /libx\.so\.6/,
    },
    { cause: 'cwd-missing', options: '-command /bin/true -cwd /no/where', told: /\/no\/where/ },
    {
      cause: 'path-denied',
      options: `-command ${locked}/program -cwd /`,
      told: /may not pass the directory .*locked \(/,
    },
    {
      cause: 'cwd-denied',
      options: `-command /bin/true -cwd ${locked}`,
      told: /it may not pass .*locked$/,
    },
    {
      cause: 'limit-too-low',
      options: '-command /bin/true -limit as=2M',
      told: /failed to map|SIGSEGV|SIGKILL|allocate/,
    },
    {
      cause: 'cgi-program',
      options: shell('echo Content-Type: text/plain; echo; echo hi'),
      told: /status 0/,
    },
    { cause: 'exited-at-once', options: '-command /bin/true', told: /printed nothing/ },
    {
      cause: 'exited-with-error',
      options: shell('echo no table >&2; exit 3'),
      told: /status 3.*no table/,
    },
    { cause: 'killed-by-signal', options: shell('kill -ABRT $$'), told: /SIGABRT/ },
    {
      cause: 'not-ready-in-time',
      options: '-command "/bin/sleep 1000" -start-timeout 1',
      told: /within 1 s/,
    },
    {
      cause: 'address-in-use',
      options: `-command /bin/true -port 127.0.0.1:${site.port}`,
      told: /in use/,
    },
    ...(isRoot
      ? [
          {
            cause: 'user-unknown',
            options: '-command /bin/true -user no-such-user',
            told: /no-such-user/,
          },
        ]
      : [{ cause: 'user-denied', options: '-command /bin/true -user root', told: /only root/ }]),
  ].map(({ options, ...rest }) => ({
    ...rest,
    options: options.includes('-user ') ? options : `${options} ${user}`,
  }));
}

export async function causes(t: Test): Promise<void> {
  const site = await Site.create(t, nginx); // for its files only
  const user = isRoot ? '-user www-data' : '';
  const good = site.program('bin/good');
  const failing = failingClasses(site, user);
  const memory = memoryGroup(site);
  if (memory)
    failing.push({ cause: 'out-of-memory', options: `${memory} ${user}`, told: /SIGKILL/ });
  else t.comment('no control group of memory can be made here: nobody is killed for want of it');
  const lines = failing.map(({ options }, i) => `AppClass broken-${i} ${options}`);
  const configuration = site.file(
    'usher.conf',
    `UsherLog ${site.dir}/usher.log
AppClass taken -command ${good} ${user} -port 127.0.0.1:${site.port}
AppClass good -command ${good} ${user} -initial-env DB_PASSWORD=${secret}
AppClass told -command "/bin/sh -c 'echo $HOUSE $DB_PASSWORD; exit 1'" ${user} \\
    -initial-env DB_PASSWORD=${secret} -initial-env HOUSE=tulip-red-12 -secret-env HOUSE
${lines.join('\n')}
`,
  );
  const command = [usher, 'run', configuration, '--runtime-dir', site.runtimeDir];
  const running = startInBackground(command);
  t.teardown(() => running.kill('SIGTERM'));
  await eventually('the address is taken', async () => {
    return (await site.classStatus('taken'))?.instances.some(({ state }) => state === 'ready');
  });

  await site.check('each cause is told by its name, with what to do', async (t) => {
    const failures = await eventually('each fails of its own cause', async () => {
      const { classes } = await site.status();
      const found = failing.map((_, i) => {
        const { lastFailure } = classes.find(({ name }) => name === `broken-${i}`) ?? {};
        return lastFailure as Journey | null | undefined;
      });
      const isOther = ({ cause }: Failing, i: number) => found[i]?.cause !== cause;
      if (!failing.some(isOther)) return found;
      const others = failing.flatMap((one, i) =>
        isOther(one, i) ? [[one, found[i] ?? null]] : [],
      );
      throw new Error(JSON.stringify(others));
    });
    for (const [i, { cause, told }] of failing.entries()) {
      const { explanation = '', output = '', hint = '' } = failures[i] ?? {};
      t.match(`${explanation} ${output}`.replace(/\s+/g, ' ').trim(), told, cause);
      t.not(hint, '', hint);
      const names = failures[i]?.steps.map(({ name }) => name) ?? [];
      t.same(names, [...new Set(names)], 'each step once');
    }
  });

  await site.check('a start that went well, step by step', async (t) => {
    const { state, journeys } = await eventually('it is ready', async () => {
      const explained = await explain(site, 'good');
      return explained.state === 'ready' && explained;
    });
    const [journey] = journeys;
    t.equal(state, 'ready');
    t.match(journey, { outcome: 'ready', cause: null });
    const names = journey?.steps.map(({ name }) => name);
    t.same(names, ['endpoint', 'path', 'user', 'fork', 'limit', 'setuid', 'cwd', 'exec', 'ready']);
    const times = journey?.steps.map(({ ms }) => ms) ?? [];
    t.same(
      times,
      [...times].sort((a, b) => a - b),
      'one after the other',
    );
    t.ok(journey?.setting.environment.includes('DB_PASSWORD=***'));
    const { output } = await usherCommand(site.runtimeDir, 'explain', 'good');
    t.match(output, /class +good .*: ready\n/);
    t.match(output, /are served by 1 instance/);
  });

  await site.check('no secret is told', async (t) => {
    const output = await eventually('it has failed', async () => {
      const { journeys } = await explain(site, 'told');
      return journeys.find(({ cause }) => cause !== null)?.output;
    });
    t.equal(output, '*** ***\n');
    for (const words of [
      ['status', '--json'],
      ['explain', 'told'],
      ['explain', 'told', '--json'],
    ]) {
      const { output } = await usherCommand(site.runtimeDir, ...words);
      t.notMatch(output, new RegExp(`${secret}|tulip-red-12`), words.join(' '));
    }
  });

  await site.check('one start by its id, and names that nobody has', async (t) => {
    const id = (await explain(site, 'good')).journeys[0]?.id ?? '';
    t.match(id, /^[a-z0-9]{6,12}$/);
    const { output } = await usherCommand(site.runtimeDir, 'explain', id);
    t.match(output, `start ${id}`);
    const unknown = await usherCommand(site.runtimeDir, 'explain', 'nobody');
    t.equal(unknown.status, 1);
    t.match(unknown.output, /called "nobody"; classes: .*good/);
  });

  running.kill('SIGTERM');
  await eventually(
    'usher run ends',
    () => running.exitCode !== null || running.signalCode !== null,
  );
  for (const path of memoryGroups.splice(0)) rmdirSync(path);
}

const memoryGroups: string[] = [];

/** Options of a program that the kernel kills for want of memory; null where none can be made so. */
function memoryGroup(site: Site): string | null {
  const group = `/sys/fs/cgroup/memory/usher-test-${process.pid}`;
  try {
    mkdirSync(group);
    memoryGroups.push(group);
    writeFileSync(`${group}/memory.limit_in_bytes`, String(8 << 20));
    chownSync(`${group}/cgroup.procs`, uidOf('www-data'), 0);
  } catch {
    return null; // not root, a container, or control groups of version 2, which only root may enter
  }
  const grow = 'my @all; push @all, "x" x 1_000_000 while 1';
  const program = site.file(
    'bin/grows',
    `#!/bin/sh\necho $$ > ${group}/cgroup.procs || exit 9\nexec perl -e '${grow}'\n`,
    0o755,
  );
  return `-command ${program}`;
}

// ---- what web servers and browsers are told

function isHtml(answer: Answer): boolean {
  return answer.header('content-type').some((type) => type.startsWith('text/html'));
}

export async function answersOfFailures(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const shown = site.file(
    'bin/shown',
    `#!/bin/sh\necho "<b>no & table</b> $TOKEN" >&2\nexit 3\n`,
    0o755,
  );
  const plain = site.file('bin/plain', '#!/bin/sh\necho unseen-words >&2\nexit 4\n', 0o755);
  const hangs = site.program('bin/hangs');
  await site.start({
    nginx: `
      usher_app ${shown} on_demand=1 show_errors "initial_env=TOKEN=${secret}";
      usher_app ${plain} on_demand=1;
      usher_app ${hangs} on_demand=1 request_timeout=1;
      server {
        listen 127.0.0.1:${site.port};
        location /shown { usher_pass ${shown}; include fastcgi_params; }
        location /plain { usher_pass ${plain}; include fastcgi_params; }
        location /hangs { usher_pass ${hangs}; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${shown} -on-demand 1 -show-errors -initial-env TOKEN=${secret}
      AppClass ${plain} -on-demand 1
      AppClass ${hangs} -on-demand 1 -request-timeout 1
      <Location /shown>
        UsherPass ${shown}
      </Location>
      <Location /plain>
        UsherPass ${plain}
      </Location>
      <Location /hangs>
        UsherPass ${hangs}
      </Location>`,
  });
  const pages = () =>
    readdirSync(site.runtimeDir)
      .filter((name) => name.startsWith(server.kind))
      .flatMap((name) => readdirSync(`${site.runtimeDir}/${name}`))
      .filter((name) => name.startsWith('page.'));

  await site.check('browsers get the page of a class with -show-errors', async (t) => {
    // Who waited for the start is answered by the launcher, who came later by the server's worker.
    for (const who of ['first', 'later']) {
      const answer = await eventually(`a page for the ${who}`, async () => {
        const found = await site.request('/shown');
        return isHtml(found) && found;
      });
      t.equal(answer.status, 503);
      t.match(
        answer.text,
        '&lt;b&gt;no &amp; table&lt;/b&gt;',
        'what the program printed, as text',
      );
      t.match(answer.text, 'exited with status 3');
      t.notMatch(answer.text, secret);
      t.notMatch(answer.text, /<script|<link|src=|url\(/i, 'nothing comes from elsewhere');
      t.match(answer.header('retry-after'), [/^\d+$/]);
      if (who === 'later') continue;
      // It goes when the class may be tried again.
      await eventually('the page is there', async () => {
        await site.request('/shown');
        return pages().length === 1;
      });
    }
    const line = await site.errorLine(/usher.*\[[a-z0-9]+\].*exited with status 3/);
    const [, id = ''] = /\[([a-z0-9]{6,12})\] /.exec(line) ?? [];
    t.match((await usherCommand(site.runtimeDir, 'explain', id)).output, `start ${id}`);
  });

  await site.check('others a few words with the id', async (t) => {
    for (const _ of ['first', 'later']) {
      const answer = await site.request('/plain');
      t.equal(answer.status, 503);
      t.match(answer.header('content-type'), [/^text\/plain/]);
      t.match(answer.text, /^503 Service Unavailable\n\n.* \(start [a-z0-9]{6,12}\)\.\n$/);
      t.notMatch(answer.text, 'unseen-words');
    }
    await site.errorLine(/\[[a-z0-9]+\].*exited with status 4/);
    t.ok(pages().length <= 1, 'no page of this class');
  });

  await site.check('the page goes with the failure', async (t) => {
    site.program('bin/shown');
    const { text } = await eventually('an answer of the repaired program', async () => {
      const answer = await site.request('/shown?text=repaired');
      return answer.status === 200 && answer;
    });
    t.equal(text, 'repaired');
    await eventually('the page is gone', () => pages().length === 0);
  });

  await site.check('a program that hangs', async (t) => {
    t.equal((await site.request('/hangs?text=well')).status, 200);
    const well = await eventually('the first answer is a step', async () => {
      const [journey] = (await explain(site, hangs)).journeys;
      return journey?.steps.at(-1)?.name === 'answer' && journey;
    });
    t.equal(well.cause, null);
    t.equal((await site.request('/hangs?sleep=600000')).status, 504);
    const journey = await eventually('it is told', async () => {
      const { journeys } = await explain(site, hangs);
      return journeys.find(({ cause }) => cause === 'hung');
    });
    t.match(journey.explanation, /-request-timeout/);
  });

  await site.end();
}
