// SPDX-License-Identifier: Apache-2.0
// Each configuration of testing/cases/ becomes what stands beside it.
import t from 'tap';
import { readLines } from '../config/lines.ts';
import { native } from '../native/native.ts';
import { cases, golden, migrateCase } from './testing/golden.ts';

const secrets = /hush-hush/;

for (const name of cases) {
  for (const to of ['apache', 'nginx'] as const) {
    t.test(`${name} to ${to}`, async (t) => {
      for (const { file, made, expected } of golden(name, to)) {
        t.equal(made, expected, file);
        t.notMatch(made, secrets, 'no secret is printed');
      }
      const { text, report } = migrateCase(name, to);
      t.notMatch(JSON.stringify(report), secrets);
      if (to === 'apache')
        t.doesNotThrow(() => checkOptions(text), 'options are what options.def allows');
    });
  }
}

/** Usher's own directives, by the validator that the servers use. */
function checkOptions(text: string): void {
  const scopes = {
    AppClass: 'static',
    ExternalAppClass: 'external',
    FCGIConfig: 'dynamic',
  } as const;
  for (const { words } of readLines(text, 'httpd.conf')) {
    const [directive = '', ...rest] = words;
    const scope = scopes[directive as keyof typeof scopes];
    if (scope === 'dynamic') native.parseOptions(scope, rest);
    else if (scope !== undefined) native.parseOptions(scope, rest.slice(1), rest[0]);
  }
}
