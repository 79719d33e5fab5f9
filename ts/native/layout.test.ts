// SPDX-License-Identifier: Apache-2.0
// A change of the channel's layout must show and be numbered: processes built before and after it
// meet in one runtime directory. After raising USHER_LAYOUT_VERSION write the new layout down with
//   USHER_WRITE_LAYOUT=1 npx tap ts/native/layout.test.ts
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { native } from './native.ts';

const file = fileURLToPath(new URL('testing/layout.json', import.meta.url));

interface Layout {
  version: number;
  limits: Record<string, number>;
  bytes: Record<string, number>;
}

function currentLayout(): Layout {
  const { layoutVersion = 0, messageMax, managerLinkFd, outputKept, ...limits } = native.limits;
  return { version: layoutVersion, limits, bytes: native.layout };
}

t.test('the layout is the one written down for its version', (t) => {
  const current = currentLayout();
  if (process.env.USHER_WRITE_LAYOUT === '1') {
    writeFileSync(file, `${JSON.stringify(current, null, 2)}\n`);
  }
  t.ok(existsSync(file));
  const written = JSON.parse(readFileSync(file, 'utf8')) as Layout;
  t.equal(current.version, written.version, 'a new version: write its layout down');
  t.same(current.limits, written.limits, 'other limits need a new USHER_LAYOUT_VERSION');
  t.same(current.bytes, written.bytes, 'another layout needs a new USHER_LAYOUT_VERSION');
  t.end();
});

t.test('records lie where their neighbours expect them', (t) => {
  const { layout, limits } = native;
  const bytes = (name: string): number => layout[name] ?? Number.NaN;
  const max = (name: string): number => limits[name] ?? Number.NaN;
  t.equal(
    bytes('table.endpoints') - bytes('table.classes'),
    bytes('classRecord') * max('classesMax'),
  );
  t.equal(bytes('table') - bytes('table.endpoints'), bytes('endpointRecord') * max('endpointsMax'));
  t.equal(bytes('places') - bytes('places.places'), bytes('place') * max('endpointsMax'));
  t.equal(bytes('cells') - bytes('cells.workers'), bytes('workerRecord') * max('workersMax'));
  t.equal(bytes('place'), 64, 'no two places share a cache line');
  t.end();
});
