// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { Registration } from '../config/dialect.ts';
import { LauncherError } from '../process/launcher.ts';
import { resolveDynamic } from './dynamic.ts';

const plain: Registration = {
  ...{ classes: [], broken: [], roots: [] },
  ...{ metrics: [], dashboards: [] },
};

function resolving(paths: Record<string, 'missing' | 'path'>): (path: string) => Promise<string> {
  return async (path) => {
    const step = paths[path];
    if (step) throw new LauncherError(step, 0, `${path}: ${step}`);
    return path;
  };
}

t.test('what a broken line defines is not started as something else', async (t) => {
  const resolve = resolving({ '/srv/c.fcgi': 'missing' });
  const registration: Registration = {
    ...plain,
    broken: [
      { name: '/srv/a.fcgi', reason: 'n.conf:3: -user: no value' },
      { name: 'php', reason: 'n.conf:4: -processes many' },
    ],
  };
  t.same(await resolveDynamic('php', registration, resolve), {
    refusal: { status: 503, reason: 'class php cannot be used: n.conf:4: -processes many' },
  });
  t.match(await resolveDynamic('/srv/a.fcgi', registration, resolve), { refusal: { status: 503 } });
  t.match(await resolveDynamic('/srv/b.fcgi', registration, resolve), {
    config: { kind: 'dynamic' },
  });
  const brokenDynamic = 'n.conf:5: -dynamicRoot: no value';
  const halfBroken = { ...registration, brokenDynamic };
  t.same(await resolveDynamic('/srv/b.fcgi', halfBroken, resolve), {
    refusal: { status: 503, reason: `cannot start /srv/b.fcgi: ${brokenDynamic}` },
  });
  t.match(await resolveDynamic('/srv/c.fcgi', halfBroken, resolve), { refusal: { status: 404 } });
});

t.test('what the launcher refuses', async (t) => {
  const resolve = resolving({ '/srv/no.fcgi': 'missing', '/etc/passwd': 'path' });
  t.same(await resolveDynamic('/srv/no.fcgi', plain, resolve), {
    refusal: { status: 404, reason: '/srv/no.fcgi: missing' },
  });
  t.same(await resolveDynamic('/etc/passwd', plain, resolve), {
    refusal: { status: 403, reason: '/etc/passwd: path' },
  });
  t.match(await resolveDynamic('php', plain, resolve), { refusal: { status: 503 } });
  const gone = async (): Promise<string> => {
    throw new RangeError('another trouble');
  };
  await t.rejects(resolveDynamic('/x', plain, gone), { message: 'another trouble' });
});
