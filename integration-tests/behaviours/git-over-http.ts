// SPDX-License-Identifier: Apache-2.0
// git-http-backend with a repository of 100 MB: clones and pushes, four at a time, with Content-Length
// and in chunks, and what all that needs and leaves.

import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Test } from 'tap';
import { RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { git, giveTo, type LargeRepository, tryGit } from '../servers/git.ts';
import {
  childrenOf,
  commandLine,
  descriptorTargets,
  peakMemoryBytes,
} from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const apacheModules = '/usr/lib/apache2/modules';
const backend = '/usr/lib/git-core/git-http-backend';

/** A gateway has 60 MB to begin with. A tenth of what goes through it would be seen. */
const peakBytesMax = 150 << 20;

/** Of the four clients: where to, and how git sends what is longer than its http.postBuffer. */
const ways = [
  { location: 'git', isChunked: false },
  { location: 'git', isChunked: true },
  { location: 'direct', isChunked: false },
  { location: 'direct', isChunked: true },
] as const;

/** `openssl passwd -apr1 secret` */
const apr1OfSecret = '$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0';

/** So many bytes of a repository's pack that git is still reading it when they are over. */
async function beginningOfPack(repository: string): Promise<Buffer> {
  const folder = `${repository}/objects/pack`;
  const name = readdirSync(folder).find((name) => name.endsWith('.pack'));
  const file = await open(`${folder}/${name}`);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(5 << 20), 0, 5 << 20, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

export async function gitOverHttp(
  t: Test,
  server: WebServer,
  repository: LargeRepository,
): Promise<void> {
  const site = await Site.create(t, server);
  const { dir } = site;
  for (const i of ways.keys()) {
    const empty = `${dir}/git/empty${i}.git`;
    await git('init', '-q', '--bare', empty);
    // A few objects would else be unpacked and compressed anew, which takes far longer than all the rest.
    await git('-C', empty, 'config', 'receive.unpackLimit', '1');
  }
  await git('clone', '-q', '--bare', '--local', repository.path, `${dir}/git/large.git`);
  await giveTo(site.instanceUid, `${dir}/git`);

  const users = site.file('users', `somebody:${apr1OfSecret}\n`);
  await site.start({
    nginx: `
      usher_app git command=${backend} protocol=cgi
                initial_env=GIT_PROJECT_ROOT=${dir}/git initial_env=GIT_HTTP_EXPORT_ALL=1;
      log_format bodies '$request_method $uri $http_content_length $http_transfer_encoding';
      server {
        listen 127.0.0.1:${site.port};
        access_log ${dir}/bodies.log bodies;
        location /git/ {
          client_max_body_size 0;
          auth_basic "git";
          auth_basic_user_file ${users};
          usher_pass git;
          include fastcgi_params;
          fastcgi_param SCRIPT_NAME /git;
          fastcgi_param REMOTE_USER $remote_user;
        }
        location /direct/ {
          client_max_body_size 0;
          fastcgi_request_buffering off;
          fastcgi_buffering off;
          usher_pass git;
          include fastcgi_params;
          fastcgi_param SCRIPT_NAME /direct;
          fastcgi_param REMOTE_USER anybody;
        }
      }`,
    apache: `
      LoadModule auth_basic_module ${apacheModules}/mod_auth_basic.so
      LoadModule authn_core_module ${apacheModules}/mod_authn_core.so
      LoadModule authn_file_module ${apacheModules}/mod_authn_file.so
      LoadModule authz_user_module ${apacheModules}/mod_authz_user.so
      AppClass git -command ${backend} -protocol cgi -initial-env GIT_PROJECT_ROOT=${dir}/git \\
          -initial-env GIT_HTTP_EXPORT_ALL=1
      CustomLog ${dir}/bodies.log "%m %U %{Content-Length}i %{Transfer-Encoding}i"
      <Location /git/>
        LimitRequestBody 0
        AuthType Basic
        AuthName git
        AuthUserFile ${users}
        Require valid-user
        UsherPass git
      </Location>
      <Location /direct/>
        LimitRequestBody 0
        UsherPass git
        SetEnv REMOTE_USER anybody
      </Location>`,
  });

  const url = (location: string, name: string): string =>
    `http://somebody:secret@127.0.0.1:${site.port}/${location}/${name}.git`;
  /** The gateway and its usher-forker. */
  const gateways = async (): Promise<number[]> => {
    const instances = (await site.classStatus('git'))?.instances.map(({ pid }) => pid) ?? [];
    return instances.flatMap((pid) => [pid, ...childrenOf(pid)]);
  };
  const programs = async (): Promise<string[]> => {
    const all = await gateways();
    const started = all.flatMap(childrenOf).filter((pid) => !all.includes(pid));
    return started.map(commandLine);
  };
  /** What git keeps until a push is whole. */
  const unfinished = (): string[] =>
    readdirSync(`${dir}/git`, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /(^|\/)tmp_|\.lock$/.test(name),
    );
  /** Bodies that the web servers hold; the files have no name any more. */
  const heldBodies = (): string[] =>
    site.workers
      .flatMap(descriptorTargets)
      .filter((target) => /\/usher-body-|\/(client_body|fastcgi)\//.test(target));
  const nothingRuns = async (): Promise<void> => {
    await site.settled();
    await eventually('all programs have ended, all bodies are gone', async () => {
      const left = [...(await programs()), ...heldBodies()];
      if (left.length > 0) throw new Error(left.join('\n'));
      return true;
    });
  };

  await site.check('four clients clone it at once', async (t) => {
    const clone = async (i: number, location: string): Promise<string> => {
      const to = `${dir}/clone${i}.git`;
      await git('clone', '-q', '--bare', url(location, 'large'), to);
      await git('-C', to, 'fsck', '--full', '--strict', '--no-progress');
      return git('-C', to, 'rev-parse', 'main');
    };
    const heads = await Promise.all(ways.map(({ location }, i) => clone(i, location)));
    t.same(
      heads,
      ways.map(() => repository.head),
    );
    await nothingRuns();
  });

  await site.check('four clients push it at once', async (t) => {
    const push = async (i: number): Promise<string> => {
      const { location, isChunked } = ways[i]!;
      const buffer = isChunked ? 65_536 : repository.bytes * 2;
      const to = url(location, `empty${i}`);
      await git(
        '-C',
        `${dir}/clone${i}.git`,
        '-c',
        `http.postBuffer=${buffer}`,
        'push',
        '-q',
        to,
        'main',
      );
      await git('-C', `${dir}/git/empty${i}.git`, 'fsck', '--full', '--strict', '--no-progress');
      return git('-C', `${dir}/git/empty${i}.git`, 'rev-parse', 'main');
    };
    const heads = await Promise.all([...ways.keys()].map(push));
    t.same(
      heads,
      ways.map(() => repository.head),
    );
    for (const [i, { location, isChunked }] of ways.entries()) {
      const bytes = repository.bytes.toString().length; // more would be another order of magnitude
      const sent = isChunked ? '- chunked' : `\\d{${bytes}} -`;
      const line = new RegExp(`^POST /${location}/empty${i}\\.git/git-receive-pack ${sent}$`, 'm');
      await eventually(`${line} is logged`, () =>
        line.test(readFileSync(`${dir}/bodies.log`, 'utf8')),
      );
    }
    await nothingRuns();
    t.same(unfinished(), []);
  });

  await site.check('who may do it is for the web server to say', async (t) => {
    const { status, output } = await tryGit(
      'ls-remote',
      `http://somebody:wrong@127.0.0.1:${site.port}/git/large.git`,
    );
    t.not(status, 0);
    t.match(output, /Authentication failed/);
  });

  await site.check('a push that breaks off changes nothing', async (t) => {
    const path = `${dir}/git/empty0.git`;
    const old = await git('-C', path, 'rev-parse', 'main');
    const command = `${old} ${'1'.repeat(40)} refs/heads/main\0report-status`;
    const length = (command.length + 4).toString(16).padStart(4, '0');
    const body = Buffer.concat([
      Buffer.from(`${length}${command}0000`),
      await beginningOfPack(repository.path),
    ]);
    const client = await RawClient.connect(site.port);
    client.send(
      'POST /direct/empty0.git/git-receive-pack HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
        'Content-Type: application/x-git-receive-pack-request\r\n' +
        `Content-Length: ${repository.bytes}\r\n\r\n`,
    );
    client.send(body);
    await eventually('somebody has begun with it', () => {
      return heldBodies().length > 0 || unfinished().length > 0;
    });
    client.leave();
    await nothingRuns(); // what git has had of it, git gc removes
    t.equal(await git('-C', path, 'rev-parse', 'main'), old);
  });

  await site.check('the gateway needs no more memory for it', async (t) => {
    for (const pid of await gateways()) {
      const bytes = peakMemoryBytes(pid);
      t.ok(bytes < peakBytesMax, `${commandLine(pid)}: ${bytes} bytes at most`);
    }
  });

  await site.end();
}
