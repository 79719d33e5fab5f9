// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { externalConfig, runFingerprint, staticConfig } from './class-config.ts';
import { owner } from './testing/fake-world.ts';

t.test('a class of CGI programs', async (t) => {
  const any = staticConfig('usher-cgi', { protocol: 'cgi', limit: ['cpu=10'] }, owner, 'x:1');
  t.match(any, { protocol: 'cgi', kind: 'static', concurrency: 32, resourceLimits: [] });
  t.same(
    any.args,
    ['--limit', 'cpu=10', '--path-check', 'suexec', '--root', '/srv'],
    'whatever file the web server names, below the roots',
  );
  t.same(
    staticConfig('/usr/lib/cgit/cgit.cgi', { protocol: 'CGI' }, owner, 'x:1').args,
    ['--program', '/usr/lib/cgit/cgit.cgi'],
    'a path is the one program',
  );
  const named = { protocol: 'cgi', command: '/bin/echo "a b"', requestTimeout: 2_000 };
  const config = staticConfig('echo', named, owner, 'x:1');
  t.same(config.args, ['--program', '/bin/echo', 'a b'], '-command as well');
  t.match(config.gateway, { name: 'cgi', options: { requestTimeoutMs: 2_000 } });
  t.equal(config.limits.requestTimeoutMs, 0, 'whose requests the gateway times itself');
});

t.test('a class of servlet engines', async (t) => {
  const options = {
    protocol: 'ajp',
    host: ['[::1]:8009,route=a,weight=3', 'b:8009,activation=Disabled'],
    backup: ['c:8009'],
    down: ['d:8009,route=d'],
    secretFile: '/etc/secret',
    mount: '/shop/',
    failOnStatus: ['500', '503'],
  };
  const config = externalConfig('tomcat', options, owner, 'x:1');
  t.match(config, {
    ...{ kind: 'static', protocol: 'ajp', min: 1, max: 1, user: 'www-data', concurrency: 200 },
    gateway: {
      ...{ name: 'ajp', args: [], secretFile: '/etc/secret' },
      options: { mount: '/shop', context: '', failOnStatus: [500, 503], poolMax: 200 },
    },
  });
  t.same(config.gateway?.backends, [
    { name: '[::1]:8009', route: 'a', weight: 3, activation: 'active', isBackup: false },
    { name: 'b:8009', route: null, weight: 1, activation: 'disabled', isBackup: false },
    { name: 'c:8009', route: null, weight: 1, activation: 'active', isBackup: true },
    { name: 'd:8009', route: 'd', weight: 1, activation: 'stopped', isBackup: false },
  ]);
  const jserv = externalConfig('old', { protocol: 'AJP12', host: 'a:8007' }, owner, 'x:1');
  t.match(jserv, { protocol: 'ajp12', gateway: { name: 'ajp', options: { protocol: 'ajp12' } } });
  const today = externalConfig('old', { protocol: 'ajp', host: 'a:8007' }, owner, 'x:1');
  t.not(runFingerprint(today), runFingerprint(jserv), 'another version is another gateway');
  const other = externalConfig('tomcat', { ...options, host: 'e:8009' }, owner, 'x:1');
  t.equal(runFingerprint(other), runFingerprint(config), 'other backends need no other gateways');
  const secret = externalConfig('tomcat', { ...options, secretFile: '/etc/other' }, owner, 'x:1');
  t.not(runFingerprint(secret), runFingerprint(config), 'another secret does');
  t.match(externalConfig('php', { host: 'a:9000' }, owner, 'x:1'), {
    kind: 'external',
    user: null,
  });
});
