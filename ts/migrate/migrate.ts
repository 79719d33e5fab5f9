// SPDX-License-Identifier: Apache-2.0
// usher migrate: from configurations of other modules to Usher's, and what is said of it. It reads
// through `Files` and writes nothing.
import { dirname } from 'node:path';
import {
  type ApacheConfiguration,
  type ApacheFile,
  type ApacheNode,
  parseApache,
} from './apache-syntax.ts';
import { Draft } from './draft.ts';
import type { Secret, ServerKind } from './model.ts';
import { flatten, type NginxDirective, type NginxFile, parseNginx } from './nginx-syntax.ts';
import { readApache } from './read-apache.ts';
import { remarkRest } from './read-locations.ts';
import { readNginx } from './read-nginx.ts';
import { makeReport, type Report } from './report.ts';
import { Edits, type RewritableFile, rewrite } from './rewrite.ts';
import { type Files, MigrateError, type Source, showPlace } from './source.ts';
import { readStarters, type Starter, starterFormat } from './starters.ts';
import { writeApache } from './write-apache.ts';
import { apacheClasses, nginxClasses } from './write-classes.ts';
import { writeNginx } from './write-nginx.ts';

export interface Wanted {
  files: readonly string[];
  /** Default: whose configuration the first file is. */
  from?: ServerKind;
  /** Default: the same server. */
  to?: ServerKind;
  /** Below which relative paths are. */
  serverRoot?: string;
  /** -D of httpd. */
  defines?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
  /** Where files with secrets are to be. */
  secretDirectory: string;
  /** Usher's modules. */
  modules: Record<ServerKind, string>;
}

export interface Migrated {
  text: string;
  report: Report;
  secrets: Secret[];
}

/** @throws MigrateError naming file and line; Error when a file cannot be read. */
export function migrate(wanted: Wanted, files: Files): Migrated {
  const texts = wanted.files.map((path) => ({ path, text: files.read(path) }));
  const starting = texts.filter(({ path, text }) => starterFormat(path, text) !== null);
  const servers = texts.filter((one) => !starting.includes(one));
  const [main, ...more] = servers;
  const from = wanted.from ?? (main === undefined ? 'nginx' : serverOf(main));
  const draft = new Draft(
    from,
    wanted.to ?? from,
    wanted.secretDirectory,
    dirname((main ?? starting[0])?.path ?? '/'),
  );
  const starters = starting.flatMap((source) => readStarters(source, draft));
  const edits = new Edits();
  if (main === undefined) return startersOnly(draft, starters);
  const text = [main, ...more].map((one) => {
    return from === 'apache'
      ? migrateApache(one.path, wanted, files, draft, edits, starters)
      : migrateNginx(one.path, wanted, files, draft, edits, starters);
  });
  return finished(draft, starters, writeResult(draft, text));
}

/** A part of the result that waits for all classes to be known. */
type Written = (classes: string[]) => string;

function writeResult(draft: Draft, parts: readonly Written[]): string {
  const head = `# Written by usher migrate; what changed its meaning is in its report.\n`;
  if (draft.isSameServer) {
    const classes =
      draft.to === 'apache'
        ? apacheClasses(draft.model, draft.base)
        : nginxClasses(draft.model, draft.base);
    return (
      head + parts.map((write, at) => `${write(at === 0 ? classes : []).trimEnd()}\n`).join('\n')
    );
  }
  return (
    head +
    (draft.to === 'apache'
      ? writeApache(draft.model, draft.base)
      : writeNginx(draft.model, draft.base))
  );
}

function startersOnly(draft: Draft, starters: readonly Starter[]): Migrated {
  for (const { name, protocol, options, span } of starters) {
    draft.addClass(
      name,
      'static',
      protocol === 'cgi' ? [['protocol', 'cgi'], ['on-demand', '4'], ...options] : options,
      [span],
    );
  }
  const classes =
    draft.to === 'apache'
      ? apacheClasses(draft.model, draft.base)
      : nginxClasses(draft.model, draft.base);
  return finished(draft, starters, `${classes.join('\n')}\n`);
}

function finished(draft: Draft, starters: readonly Starter[], text: string): Migrated {
  const used = new Set(draft.model.classes.flatMap(({ sources }) => sources));
  for (const { span, name } of starters) {
    const isUsed = used.has(span) || draft.model.classes.some((one) => one.name === name);
    if (!isUsed)
      draft.note(
        'none',
        span,
        'nothing in the web server’s configuration goes to its address: no class was made',
      );
  }
  return { text, report: makeReport(draft, nextSteps(draft)), secrets: draft.model.secrets };
}

function nextSteps({ to, isSameServer, model, base }: Draft): string[] {
  const server = to === 'apache' ? 'apachectl configtest' : 'nginx -t';
  return [
    ...model.secrets.map(
      ({ path, source }) =>
        `Put the secret of ${showPlace(source, base)} into ${path}, owner root, mode 0600 (--secrets writes such files).`,
    ),
    isSameServer
      ? `Put the text in the place of the old file, and check it: ${server}.`
      : `Include the text ${to === 'apache' ? 'in httpd.conf' : 'at http level of nginx.conf'}, load Usher’s module, and check it: ${server}.`,
  ];
}

/** Whose configuration a text is. */
export function serverOf({ path, text }: Source): ServerKind {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const share = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
  const ofNginx = share(/[;{}]$/);
  if (ofNginx > 0 && ofNginx * 2 >= lines.length) return 'nginx';
  if (share(/^<?\/?[A-Za-z]\w+(\s|>|$)/) * 2 >= lines.length) return 'apache';
  throw new MigrateError(
    { file: path, line: 1 },
    'neither httpd.conf nor nginx.conf, nor how programs are started (spawn-fcgi, fcgiwrap, a pool of php-fpm); --from says whose it is',
  );
}

// ---- httpd.conf

function migrateApache(
  path: string,
  wanted: Wanted,
  files: Files,
  draft: Draft,
  edits: Edits,
  starters: readonly Starter[],
): Written {
  const configuration = parseApache(path, files, {
    ...(wanted.serverRoot === undefined ? {} : { serverRoot: wanted.serverRoot }),
    ...(wanted.defines === undefined ? {} : { defines: wanted.defines }),
    ...(wanted.env === undefined ? {} : { env: wanted.env }),
  });
  const result = readApache(configuration, draft, edits, files, starters, wanted.modules.apache);
  remarkVariables(configuration, draft);
  return (classes) => {
    const isLoaded = result.hasLoadModule || !configuration.knowsModules || classes.length === 0;
    const load = isLoaded ? [] : [`LoadModule usher_module ${wanted.modules.apache}`];
    const text = classes.length === 0 ? '' : `${[...load, ...classes].join('\n')}\n`;
    const { source } = configuration.file;
    const at = result.classesAt;
    if (at === null) edits.insertAt(source, 0, text);
    else
      edits.insertAt(
        at.source,
        lineEnd(at.source.text, at.end),
        text === '' ? '' : `\n${text.trimEnd()}`,
      );
    return rewrite(apacheFile(configuration.file), edits, (one) => `Include "${one}"`);
  };
}

function lineEnd(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset);
  return newline === -1 ? text.length : newline;
}

function remarkVariables({ unknownVariables }: ApacheConfiguration, draft: Draft): void {
  for (const [name, span] of unknownVariables) {
    draft.note(
      'none',
      span,
      `\${${name}} is defined nowhere in these files nor in the environment: set it for usher migrate as httpd has it (Debian: . /etc/apache2/envvars)`,
      `\${${name}}`,
    );
  }
}

function apacheFile({ source, nodes }: ApacheFile): RewritableFile {
  return { source, includes: apacheIncludes(nodes) };
}

function apacheIncludes(nodes: readonly ApacheNode[]): RewritableFile['includes'] {
  return nodes.flatMap((node) => {
    if (node.kind === 'section') return apacheIncludes(node.children);
    if (node.kind === 'include') return [{ span: node.span, files: node.files.map(apacheFile) }];
    return [];
  });
}

// ---- nginx.conf

function migrateNginx(
  path: string,
  wanted: Wanted,
  files: Files,
  draft: Draft,
  edits: Edits,
  starters: readonly Starter[],
): Written {
  const file = parseNginx(path, files, wanted.serverRoot ?? dirname(path));
  const result = readNginx(file, draft, edits, starters);
  if (!draft.isSameServer) remarkAll(draft, file);
  return (classes) => {
    const { source, offset } = result.classesAt;
    const isFragment = !result.hasHttp;
    const lines = isFragment ? classes : classes.map((line) => `    ${line}`);
    if (lines.length > 0)
      edits.insertAt(
        source,
        offset,
        isFragment ? `${lines.join('\n')}\n\n` : `\n${lines.join('\n')}\n`,
      );
    if (result.hasHttp && !result.hasLoadModule)
      edits.insertAt(file.source, 0, `load_module ${wanted.modules.nginx};\n`);
    return rewrite(nginxFile(file), edits, (one) => `include ${one};`);
  };
}

function remarkAll(draft: Draft, file: NginxFile): void {
  const visit = (
    nodes: readonly NginxDirective[],
    host: Draft['model']['hosts'][number] | null,
  ): void => {
    const all = flatten(nodes);
    for (const node of all) {
      const own = draft.model.hosts.find((one) => one.span === node.head) ?? host;
      if (node.children !== null) visit(node.children, own);
    }
    remarkRest(draft, all, host);
  };
  visit(file.nodes, null);
}

function nginxFile({ source, nodes }: NginxFile): RewritableFile {
  return { source, includes: nginxIncludes(nodes) };
}

function nginxIncludes(nodes: readonly NginxDirective[]): RewritableFile['includes'] {
  return nodes.flatMap((node) => {
    if (node.files !== null) return [{ span: node.span, files: node.files.map(nginxFile) }];
    return node.children === null ? [] : nginxIncludes(node.children);
  });
}
