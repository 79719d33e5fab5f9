// SPDX-License-Identifier: Apache-2.0
// First requests: many at once for one cold class, many classes at once; and programs that cannot
// serve: what the client gets, what the error log says, how often they were tried.

import { chmodSync, mkdirSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { isRoot, Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Room for 200 requests at once; nginx has it anyway. */
const manyWorkers = `
      <IfModule mpm_prefork_module>
        ServerLimit 256
        StartServers 210
        MaxRequestWorkers 256
      </IfModule>
      <IfModule mpm_event_module>
        ServerLimit 10
        StartServers 9
        ThreadsPerChild 25
        MaxRequestWorkers 250
      </IfModule>`;

function counted<T>(values: T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

export async function coldStarts(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const cold = site.program('bin/cold');
  const dynamic = site.program('docs/dynamic.fcgi');
  const many = Array.from({ length: 50 }, (_, i) => site.program(`docs/many-${i}.fcgi`));
  const growing = site.program('bin/growing');

  await site.start({
    nginx: `
      usher_app ${cold} "command=${cold} --start-ms 300" on_demand=1;
      usher_app ${growing} on_demand=4;
      usher_config max_processes=80 max_class_processes=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /cold { usher_pass ${cold}; include fastcgi_params; }
        location /growing { usher_pass ${growing}; include fastcgi_params; }
        location / {
          usher_pass $document_root$uri;
          include fastcgi_params;
        }
      }`,
    apache: `${manyWorkers}
      AppClass ${cold} -command "${cold} --start-ms 300" -on-demand 1
      AppClass ${growing} -on-demand 4
      FCGIConfig -maxProcesses 80 -maxClassProcesses 1
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /cold>
        UsherPass ${cold}
      </Location>
      <Location /growing>
        UsherPass ${growing}
      </Location>`,
  });

  await site.check('200 first requests at once make one start and are all answered', async (t) => {
    t.same(site.starts(cold), [], 'nothing runs before the first request');
    const answers = await Promise.all(Array.from({ length: 200 }, () => site.request('/cold?pid')));
    t.same([...counted(answers.map(({ status }) => status))], [[200, 200]]);
    t.equal(site.starts(cold).length, 1);
    t.same([...new Set(answers.map(({ text }) => Number(text)))], site.starts(cold));
    t.ok(await site.accessLine(/ state=cold wait_ms=\d+/));
    await site.settled();
  });

  await site.check('so do 200 for a program that no directive names', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => site.request('/dynamic.fcgi?pid')),
    );
    t.same([...counted(answers.map(({ status }) => status))], [[200, 200]]);
    t.equal(site.starts(dynamic).length, 1);
    await site.settled();
  });

  await site.check('50 classes, all cold, answer at once', async (t) => {
    const answers = await Promise.all(
      many.map((_, i) => site.request(`/many-${i}.fcgi?text=class-${i}`)),
    );
    t.same(
      answers.map(({ status, text }) => `${status} ${text}`),
      many.map((_, i) => `200 class-${i}`),
    );
    t.same([...new Set(many.map((path) => site.starts(path).length))], [1]);
    await site.settled();
  });

  await site.check('a class grows with its load, up to what it is allowed', async (t) => {
    const pids = new Set<string>();
    await eventually('four instances serve', async () => {
      const answers = await Promise.all(
        Array.from({ length: 16 }, () => site.request('/growing?sleep=50&pid')),
      );
      for (const { text } of answers) pids.add(text);
      return pids.size >= 4;
    });
    t.equal(pids.size, 4);
    t.equal((await site.classStatus(growing))?.instances.length, 4);
  });

  await site.end();
}

export async function failures(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const exits = site.program('docs/exits.fcgi', 'exits-at-once');
  const complains = site.program('docs/complains.fcgi', 'exits-with-stderr');
  const hangs = site.program('docs/hangs.fcgi', 'hangs-before-accept');
  const good = site.program('docs/good.fcgi');
  const outside = site.program('elsewhere/outside.fcgi');
  const shared = site.program('docs/shared.fcgi');
  const directory = `${site.docs}/directory`;
  mkdirSync(directory);
  site.file('docs/sorry.txt', 'sorry, come again');
  site.file('docs/plain.fcgi', 'just a text', 0o644);
  site.file('docs/unreadable.fcgi', '#!/no/such/interpreter\n', 0o755);

  await site.start({
    nginx: `
      usher_config start_timeout=5 app_conn_timeout=8 restart_delay=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location / { usher_pass $document_root$uri; include fastcgi_params; }
        location /page/ {
          usher_pass ${exits};
          include fastcgi_params;
          fastcgi_intercept_errors on;
          error_page 503 /sorry.txt;
        }
        location = /sorry.txt { }
        location /elsewhere/ { usher_pass ${outside}; include fastcgi_params; }
        location /directory { usher_pass ${directory}; include fastcgi_params; }
      }`,
    apache: `
      FCGIConfig -start-timeout 5 -appConnTimeout 8 -restart-delay 1
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      ErrorDocument 503 /sorry.txt
      Alias /page/ ${exits}/
      Alias /elsewhere/ ${site.dir}/elsewhere/
      <Directory ${site.dir}/elsewhere>
        Require all granted
        Options +ExecCGI
      </Directory>
      <Directory ${directory}>
        DirectorySlash Off
        SetHandler fastcgi-script
      </Directory>`,
  });

  /** The status, and a line of the error log that names the program and the cause. */
  const refused = async (t: Test, path: string, status: number, program: string, cause: RegExp) => {
    t.equal((await site.request(path)).status, status);
    const line = await eventually(`an error line for ${program}`, () =>
      site
        .newErrors()
        .split('\n')
        .find((found) => found.includes(program) && cause.test(found)),
    );
    t.ok(line);
  };

  await site.check('a program that does not exist is 404', (t) =>
    refused(
      t,
      '/missing.fcgi',
      404,
      `${site.docs}/missing.fcgi`,
      /not exist|no such file|not found/i,
    ),
  );

  await site.check('a file that may not be executed is 403', (t) =>
    refused(t, '/plain.fcgi', 403, `${site.docs}/plain.fcgi`, /execut|permission/i),
  );

  await site.check('a directory is 403', (t) =>
    refused(t, '/directory', 403, directory, /directory|not a (regular )?file/i),
  );

  await site.check('a program outside the allowed roots is 403', async (t) => {
    await refused(t, '/elsewhere/outside.fcgi', 403, outside, /root|outside|allowed/i);
    t.same(site.starts(outside), []);
  });

  if (isRoot) {
    await site.check(
      'a program that others may write to is 403, until nobody else may',
      async (t) => {
        chmodSync(shared, 0o775);
        await refused(t, '/shared.fcgi', 403, shared, /may be written by its group.*chmod go-w/);
        t.same(site.starts(shared), []);
        chmodSync(shared, 0o755);
        await eventually(
          'an answer',
          async () => (await site.request('/shared.fcgi')).status === 200,
        );
      },
    );
  }

  await site.check('a program whose interpreter is missing is 503', (t) =>
    refused(t, '/unreadable.fcgi', 503, 'unreadable.fcgi', /no such file|ENOENT|exec/i),
  );

  await site.check('a program that ends at once is 503, and the log has its status', (t) =>
    refused(t, '/exits.fcgi', 503, 'exits.fcgi', /(status|code|exit)\D{0,12}3\b/i),
  );

  await site.check('a program that says why it ends is 503, and the log has the reason', (t) =>
    refused(t, '/complains.fcgi', 503, 'complains.fcgi', /no such table: places/),
  );

  await site.check('a program that never accepts is 503, and the log says so', (t) =>
    refused(t, '/hangs.fcgi', 503, 'hangs.fcgi', /accept|ready|start|time/i),
  );

  await site.check('many requests for broken programs do not make many starts', async (t) => {
    for (const [path, program] of [
      ['/exits.fcgi', exits],
      ['/complains.fcgi', complains],
    ] as const) {
      const before = site.starts(program).length;
      const answers = await Promise.all(Array.from({ length: 60 }, () => site.request(path)));
      t.same([...counted(answers.map(({ status }) => status))], [[503, 60]]);
      const tries = site.starts(program).length - before;
      t.ok(tries <= 6, `60 requests made ${tries} starts of ${path}`);
    }
    t.ok(site.starts(hangs).length <= 6);
  });

  await site.check('the error page for 503 is the one configured', async (t) => {
    const answer = await site.request('/page/x');
    t.equal(answer.status, 503);
    t.equal(answer.text, 'sorry, come again');
  });

  await site.check('status tells why a class cannot start', async (t) => {
    const known = await site.classStatus(complains);
    t.match(JSON.stringify(known), /no such table: places/);
  });

  await site.check('good programs beside them are served meanwhile', async (t) => {
    const broken = ['/exits.fcgi', '/complains.fcgi', '/hangs.fcgi'];
    const [answers] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, () => site.request('/good.fcgi?text=good'))),
      Promise.all(broken.map((path) => site.request(path))),
    ]);
    t.same([...new Set(answers.map(({ text }) => text))], ['good']);
    await site.settled();
  });

  await site.check('a program that has been repaired is served again', async (t) => {
    site.program('docs/complains.fcgi', 'echo');
    const answer = await eventually('an answer of the repaired program', async () => {
      const { status, text } = await site.request('/complains.fcgi?text=repaired');
      return status === 200 ? text : undefined;
    });
    t.equal(answer, 'repaired');
  });

  await site.check('a program that dies before its answer is 502', async (t) => {
    t.equal((await site.request('/good.fcgi?exit=3')).status, 502);
    t.ok(await site.errorLine(/good\.fcgi/));
    const next = await eventually('the next answer', async () => {
      const { status, text } = await site.request('/good.fcgi?text=alive');
      return status === 200 ? text : undefined;
    });
    t.equal(next, 'alive');
  });

  await site.check('an answer that breaks off is seen to be broken off', async (t) => {
    const before = site.starts(good).length;
    const answer = await site.request('/good.fcgi?bytes=300000&flush&abort');
    t.ok(
      answer.status === 502 || !answer.isComplete,
      `status ${answer.status}, ${answer.body.length} bytes, complete: ${answer.isComplete}`,
    );
    t.ok(await site.errorLine(/good\.fcgi/));
    await eventually('the next answer', async () => {
      return (await site.request('/good.fcgi?text=alive')).status === 200;
    });
    t.ok(site.starts(good).length <= before + 1, 'one start in its place at most');
    await site.settled();
  });

  if (isRoot) {
    await site.check('a program that nobody but root may run is refused', async (t) => {
      site.file('docs/private.fcgi', '#!/bin/sh\n', 0o700);
      const { status } = await site.request('/private.fcgi');
      t.ok([403, 503].includes(status), `${status}`);
    });
  }

  await site.end();
}
