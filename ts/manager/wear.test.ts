// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { canWear, wornBy } from './wear.ts';

t.test('wear', async (t) => {
  const none = { maxRequests: 0, maxLifetimeMs: 0, memoryLimitBytes: 0 };
  const much = { requests: 1e6, livedMs: 1e9, rssBytes: 1e12 };
  t.equal(wornBy(much, none), '', 'without a limit nothing wears');
  t.notOk(canWear(none));
  const limits = { maxRequests: 500, maxLifetimeMs: 3_600_000, memoryLimitBytes: 1 << 28 };
  t.ok(canWear(limits));
  const little = { requests: 499, livedMs: 3_599_999, rssBytes: 1 << 28 };
  t.equal(wornBy(little, limits), '');
  t.match(wornBy({ ...little, requests: 500 }, limits), /500 requests \(-max-requests 500\)/);
  t.match(wornBy({ ...little, livedMs: 3_600_000 }, limits), /3600 s \(-max-lifetime 3600\)/);
  t.match(wornBy({ ...little, rssBytes: (1 << 28) + 1 }, limits), /-memory-limit 268435456/);
  t.equal(
    wornBy({ requests: 0, livedMs: 1, rssBytes: 1 << 30 }, limits),
    '',
    'a program that is too large from the start is not replaced for ever',
  );
});
