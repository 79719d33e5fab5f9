// SPDX-License-Identifier: Apache-2.0
import { chmodSync } from 'node:fs';
import t from 'tap';
import type { Registration } from '../config/dialect.ts';
import { resolveDynamic } from './dynamic.ts';

t.test('what a broken line defines is not started as something else', (t) => {
  const root = t.testdir({ 'a.fcgi': '', 'b.fcgi': '' });
  for (const name of ['a.fcgi', 'b.fcgi']) chmodSync(`${root}/${name}`, 0o755);
  const registration: Registration = {
    classes: [],
    broken: [
      { name: `${root}/a.fcgi`, reason: 'n.conf:3: -user: no value' },
      { name: 'php', reason: 'n.conf:4: -processes many' },
    ],
    roots: [root],
  };
  t.same(resolveDynamic('php', registration), {
    refusal: { status: 503, reason: 'class php cannot be used: n.conf:4: -processes many' },
  });
  t.match(resolveDynamic(`${root}/a.fcgi`, registration), { refusal: { status: 503 } });
  t.match(resolveDynamic(`${root}/b.fcgi`, registration), { config: { kind: 'dynamic' } });
  const brokenDynamic = 'n.conf:5: -dynamicRoot: no value';
  t.same(resolveDynamic(`${root}/b.fcgi`, { ...registration, brokenDynamic }), {
    refusal: { status: 503, reason: `cannot start ${root}/b.fcgi: ${brokenDynamic}` },
  });
  t.match(resolveDynamic(`${root}/c.fcgi`, { ...registration, brokenDynamic }), {
    refusal: { status: 404 },
  });
  t.end();
});
