// SPDX-License-Identifier: Apache-2.0
// cgit and gitweb as CGI programs: pages, files as they are, archives made while they are sent, and the
// style sheets that the web server has itself.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { checksum } from '../servers/client.ts';
import { git } from '../servers/git.ts';
import { isRoot, Site } from '../servers/site.ts';
import { run } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

const cgitrc = (dir: string): string => `
virtual-root=/cgit/
css=/cgit-css/cgit.css
logo=/cgit-css/cgit.png
snapshots=tar.gz
cache-size=0
scan-path=${dir}/git
`;

const gitwebConf = (dir: string): string => `
our $projectroot = '${dir}/git';
our @stylesheets = ('/gitweb-static/gitweb.css');
our $logo = '/gitweb-static/git-logo.png';
our $favicon = '/gitweb-static/git-favicon.png';
our $javascript = '/gitweb-static/gitweb.js';
$feature{'pathinfo'}{'default'} = [1];
$feature{'snapshot'}{'default'} = ['tgz'];
1;
`;

/** Bytes of a file that makes archives long and does not become shorter in them. */
const bigBytes = 8 << 20;

async function makeRepository(site: Site, big: Buffer): Promise<void> {
  const work = `${site.dir}/work`;
  site.file('work/README', 'a first file\n');
  site.file('work/src/ümlaut & <co>.txt', 'its name has to be escaped\n');
  site.file('work/big', big);
  await git('init', '-q', work);
  await git('-C', work, 'add', '.');
  await git('-C', work, 'commit', '-qm', 'a first <commit>');
  await git('clone', '-q', '--bare', work, `${site.dir}/git/first.git`);
  if (isRoot) await run(['chown', '-R', `${site.instanceUid}`, `${site.dir}/git`]);
}

export async function repositoryBrowsers(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const { dir } = site;
  const big = randomBytes(bigBytes);
  await makeRepository(site, big);
  const config = {
    cgit: site.file('cgitrc', cgitrc(dir)),
    gitweb: site.file('gitweb.conf', gitwebConf(dir)),
  };
  await site.start({
    nginx: `
      usher_app cgit command=/usr/lib/cgit/cgit.cgi protocol=cgi
                initial_env=CGIT_CONFIG=${config.cgit};
      usher_app gitweb command=/usr/share/gitweb/gitweb.cgi protocol=cgi
                initial_env=GITWEB_CONFIG=${config.gitweb};
      server {
        listen 127.0.0.1:${site.port};
        types { text/css css; }
        location /cgit-css/ { alias /usr/share/cgit/; }
        location /cgit/ { usher_pass cgit; include fastcgi_params; fastcgi_param SCRIPT_NAME ""; }
        location /gitweb-static/ { alias /usr/share/gitweb/static/; }
        location /gitweb/ {
          usher_pass gitweb;
          include fastcgi_params;
          fastcgi_param SCRIPT_NAME "";
        }
      }`,
    apache: `
      AddType text/css .css
      AppClass cgit -command /usr/lib/cgit/cgit.cgi -protocol cgi \\
          -initial-env CGIT_CONFIG=${config.cgit}
      Alias /cgit-css/ /usr/share/cgit/
      <Location /cgit/>
        UsherPass cgit
      </Location>
      AppClass gitweb -command /usr/share/gitweb/gitweb.cgi -protocol cgi \\
          -initial-env GITWEB_CONFIG=${config.gitweb}
      Alias /gitweb-static/ /usr/share/gitweb/static/
      <Location /gitweb/>
        UsherPass gitweb
      </Location>
      <DirectoryMatch ^/usr/share/(cgit|gitweb/static)/>
        Require all granted
      </DirectoryMatch>`,
  });

  /** What the archive's file `big` holds. */
  const unpacked = async (archive: Buffer, name: string): Promise<Buffer> => {
    const into = `${dir}/${name}`;
    const path = site.file(`${name}/archive.tar.gz`, archive);
    const { status, output } = await run(['tar', '-C', into, '--strip-components=1', '-xzf', path]);
    if (status !== 0) throw new Error(output);
    return readFileSync(`${into}/big`);
  };
  const commit = await git('-C', `${dir}/git/first.git`, 'rev-parse', 'HEAD');

  const pages = [
    ['cgit', '', /first\.git/, 'the index'],
    ['cgit', 'first.git/', /a first &lt;commit&gt;/, 'the summary'],
    ['cgit', 'first.git/log/', /a first &lt;commit&gt;.*A U Thor/s, 'the log'],
    ['cgit', `first.git/commit/?id=COMMIT`, /src\/ümlaut &amp; &lt;co&gt;\.txt/, 'a commit'],
    ['cgit', 'first.git/tree/README', /a first file/, 'a file'],
    [
      'cgit',
      'first.git/tree/src/%c3%bcmlaut%20%26%20%3cco%3e.txt',
      /to be escaped/,
      'an escaped one',
    ],
    ['gitweb', '', /first\.git/, 'the index'],
    ['gitweb', 'first.git', /a first &lt;commit&gt;/, 'the summary'],
    ['gitweb', 'first.git/shortlog', /a first &lt;commit&gt;/, 'the log'],
    ['gitweb', `first.git/commitdiff/COMMIT`, /\+a first file/, 'a commit'],
    ['gitweb', 'first.git/blob/HEAD:/README', /a first file/, 'a file'],
    [
      'gitweb',
      'first.git/blob/HEAD:/src/%c3%bcmlaut%20%26%20%3cco%3e.txt',
      /to be escaped/,
      'an escaped one',
    ],
    ['gitweb', '?p=first.git;a=log', /a first &lt;commit&gt;/, 'the log by its query'],
  ] as const;
  for (const program of ['cgit', 'gitweb'] as const) {
    await site.check(`${program} shows pages`, async (t) => {
      for (const [, path, content, name] of pages.filter(([one]) => one === program)) {
        const answer = await site.request(`/${program}/${path.replace('COMMIT', commit)}`);
        t.equal(answer.status, 200, name);
        t.match(answer.header('content-type').join(), /^(text\/html|application\/xhtml\+xml)/);
        t.match(answer.text.replaceAll('&nbsp;', ' '), content, name);
        t.ok(answer.isComplete && /<\/html>\s*$/.test(answer.text), `${name} is whole`);
      }
      const none = { cgit: 'none.git/', gitweb: 'first.git/blob/HEAD:/none' }[program];
      const missing = await site.request(`/${program}/${none}`);
      t.equal(missing.status, 404, 'its own 404');
      t.match(missing.text, /no repositories|cannot find file/i);
    });
  }

  await site.check('files and archives come byte by byte', async (t) => {
    const urls = {
      '/cgit/first.git/plain/big': '/cgit/first.git/snapshot/first-main.tar.gz',
      '/gitweb/first.git/blob_plain/HEAD:/big': '/gitweb/first.git/snapshot/HEAD.tar.gz',
    };
    for (const [file, archive] of Object.entries(urls)) {
      const plain = await site.request(file);
      t.equal(plain.status, 200, file);
      t.equal(checksum(plain.body), checksum(big), 'as it is');
      const packed = await site.request(archive);
      t.equal(packed.status, 200, archive);
      t.ok(packed.isComplete);
      t.match(packed.header('content-type').join(), /^application\/x-(gzip|tar)/);
      t.match(packed.header('content-disposition').join(), /first.*\.tar\.gz/);
      const name = archive.split('/')[1] ?? '';
      t.equal(checksum(await unpacked(packed.body, name)), checksum(big), 'unpacked');
    }
  });

  await site.check('style sheets are where the pages say', async (t) => {
    for (const program of ['cgit', 'gitweb'] as const) {
      const { text } = await site.request(`/${program}/first.git`);
      const [, css = ''] = /<link[^>]* href=['"]([^'"]+\.css)['"]/.exec(text) ?? [];
      const sheet = await site.request(css);
      t.equal(sheet.status, 200, css);
      t.match(sheet.header('content-type').join(), /^text\/css/);
      t.match(sheet.text, /\{[^}]*color/);
    }
  });

  await site.end();
}
