// SPDX-License-Identifier: Apache-2.0
// Both server modules and the launcher under AddressSanitizer and UndefinedBehaviorSanitizer, in the
// servers as they are installed: scripts/test.mjs builds them and says so by USHER_TEST_SANITIZED.
// With USHER_TEST_LONG=1 longer, and under each server.

import t from 'tap';
import { answers } from '../behaviours/answers.ts';
import { hostileAnswers } from '../behaviours/hostile-answers.ts';
import { reloadCycles } from '../behaviours/reload-cycles.ts';
import { apacheEvent, nginx, servers } from '../servers/index.ts';
import { nothingLeft } from '../servers/leftovers.ts';
import { isSanitized, takeReports } from '../servers/sanitized.ts';

const isLong = process.env.USHER_TEST_LONG === '1';
const cycles = isLong ? 200 : 20;
const hostile = isLong ? 20_000 : 400;
const wanted = isLong ? servers : servers.filter((s) => s === nginx || s === apacheEvent);

t.ok(isSanitized, 'is run by scripts/test.mjs, with the modules of build-asan/');
t.jobs = 2;
for (const server of wanted) {
  t.test(`${server.name}: answers`, (t) => answers(t, server));
  t.test(`${server.name}: hostile answers`, (t) => hostileAnswers(t, server, hostile));
  t.test(`${server.name}: reload`, (t) => reloadCycles(t, server, cycles));
}
t.test('after the end', { buffered: false }, async (t) => {
  await nothingLeft(t);
  t.same(takeReports(cycles / 2), [], 'no sanitizer has reported anything');
});
