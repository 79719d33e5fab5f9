// SPDX-License-Identifier: Apache-2.0
// The programs that are tortured. All answer one line each for QUERY_STRING, pid, body_bytes and
// body_crc32, and take their time with ?sleep=MS.

import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync } from 'node:fs';
import { apps } from '../servers/checkout.ts';
import type { Site, SiteOwner } from '../servers/site.ts';
import { Tomcat } from '../servers/tomcat.ts';

/** Options of a class as httpd.conf spells them, without the hyphen; true for one without a value, a
 * list for one that is repeated. */
export type ClassOptions = Record<string, string | number | true | readonly string[]>;

export interface Program {
  name: string;
  /** Places the file that runs, below the site's directory: one for each class. */
  place: (site: Site, className: string) => string;
  command: (file: string) => string;
  /** Requests one instance takes at once. */
  concurrency: number;
  options: ClassOptions;
  /** Servlet engines, started for the site's time; then the class's instances are gateways. */
  engines?: (owner: SiteOwner, context: string) => Promise<Tomcat[]>;
  /** What is asked for; page.php. */
  page?: string;
}

export const engineSecret = randomBytes(12).toString('hex');

const placed =
  (app: string) =>
  (site: Site, className: string): string =>
    site.program(`bin/${className}`, app);

function placePage(site: Site, className: string): string {
  const path = `${site.docs}/${className}/page.php`;
  mkdirSync(`${site.docs}/${className}`);
  copyFileSync(`${apps}/page.php`, path);
  return path;
}

export type ProgramName = 'c' | 'perl' | 'node' | 'php' | 'php-children' | 'tomcat';

export const programs: Record<ProgramName, Program> = {
  c: {
    name: 'c',
    place: placed('echo'),
    command: (file) => `${file} --abrupt`,
    concurrency: 1,
    options: {},
  },
  perl: {
    name: 'perl',
    place: placed('echo.pl'),
    command: (file) => file,
    concurrency: 1,
    options: {},
  },
  node: {
    name: 'node',
    place: placed('answers.mjs'),
    command: (file) => `node ${file}`,
    concurrency: 2,
    options: {},
  },
  php: {
    name: 'php',
    place: placePage,
    command: () => 'php-cgi',
    concurrency: 1,
    options: { 'initial-env': 'PHP_FCGI_MAX_REQUESTS=50' },
  },
  'php-children': {
    name: 'php-children',
    place: placePage,
    command: () => 'php-cgi',
    concurrency: 4,
    options: { 'initial-env': ['PHP_FCGI_CHILDREN=4', 'PHP_FCGI_MAX_REQUESTS=50'] },
  },
  tomcat: {
    name: 'tomcat',
    place: () => '',
    command: () => '',
    concurrency: 2,
    options: { protocol: 'ajp' },
    engines: (owner, context) =>
      Promise.all([1, 2].map(() => Tomcat.start(owner, { context, secret: engineSecret }))),
    page: 'torture.jsp',
  },
};

/** Those that are instances themselves. */
export const ownPrograms: readonly ProgramName[] = ['c', 'perl', 'node', 'php', 'php-children'];
export const programNames = Object.keys(programs) as ProgramName[];

/** php-cgi that does not end itself: what ends is to be what was ended. */
export const lastingPhp = (name: string): ClassOptions =>
  name === 'php' ? { 'initial-env': 'PHP_FCGI_MAX_REQUESTS=1000000' } : {};
