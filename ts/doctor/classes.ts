// SPDX-License-Identifier: Apache-2.0
// The classes of all configurations and registrations, with their defaults, as the manager would run
// them: asked of classes-main.ts, which loads the addon.
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServerKind } from '../migrate/model.ts';
import type { Host } from './host.ts';

export interface ClassesAsked {
  /** Registrations and usher.conf. */
  texts: { file: string; text: string; user: string | null }[];
  directives: DirectiveAsked[];
}

export interface DirectiveAsked {
  kind: ServerKind;
  scope: ClassPlan['scope'];
  name: string;
  words: string[];
  place: string;
  user: string | null;
  group: string | null;
}

export interface ClassesRead {
  layoutVersion: number;
  classes: ClassPlan[];
  /** Of the texts; each begins with its place. */
  errors: string[];
}

/** What can be looked at before a class is started. */
export interface ClassPlan {
  /** '' = all dynamic ones together. */
  name: string;
  /** file:line. */
  source: string;
  scope: 'static' | 'external' | 'dynamic';
  protocol: string;
  /** null = none is started, or whatever file a request names. */
  program: string | null;
  cwd: string;
  user: string | null;
  group: string | null;
  /** PATH and LD_LIBRARY_PATH of its environment. */
  path: string;
  libraryPath: string;
  log: string | null;
  secretFile: string | null;
  allowSetuid: boolean;
  /** Of -limit nofile=N. */
  fileLimit: number | null;
  /** The most processes there may be, and requests at once at all of them or its hosts. */
  instances: number;
  places: number;
  /** unix:PATH or tcp:…; null = a socket of its own each. */
  listen: string | null;
  /** Of -listen-queue-depth; 0 = as the kernel has it. */
  backlog: number;
  startsEngines: boolean;
  /** host:port or unix:PATH of programs that run elsewhere, or of its servlet engines. */
  backends: string[];
  authenticates: boolean;
  queueLimit: number;
}

export type ClassesOutcome = (ClassesRead & { failure: null }) | { failure: string };

/** Fails where the addon cannot be loaded; `failure` is then what Node said. */
export async function readClasses(host: Host, asked: ClassesAsked): Promise<ClassesOutcome> {
  const extension = extname(import.meta.url);
  const program = fileURLToPath(new URL(`classes-main${extension}`, import.meta.url));
  const loader = extension === '.ts' ? ['--import=tsx'] : [];
  const { NODE_OPTIONS: _, ...env } = host.env;
  const { exitCode, output } = await host.run(process.execPath, [...loader, program], {
    env,
    input: JSON.stringify(asked),
    timeoutMs: 6000,
  });
  if (exitCode !== 0) return { failure: errorLine(output) };
  return { ...(JSON.parse(output) as ClassesRead), failure: null };
}

/** Of an uncaught exception the line that says what it was. */
function errorLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim());
  const said = lines.find((line) => /^\w*Error(?: \[\w+\])?: /.test(line));
  return said ?? lines.filter((line) => line !== '').at(-1) ?? 'it ended without a word';
}
