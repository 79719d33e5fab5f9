// SPDX-License-Identifier: Apache-2.0
// What `usher doctor` finds, as its program tells it to the command line, line by line, and as --json
// shows it. Nothing in it is secret.

export const reportSchema = 1;

/** `skipped`: it could not be seen, or there is nothing to look at. */
export type FindingStatus = 'ok' | 'warning' | 'error' | 'skipped';

/** What a check says of one thing. */
export interface FoundOut {
  status: FindingStatus;
  /** In a line. */
  what: string;
  /** file:line, path or pid. */
  where?: string;
  /** What it costs, or how it came. */
  why?: string;
  /** What to do; every warning and error has one. */
  fix?: string;
}

export interface Finding extends FoundOut {
  /** Id of the check. */
  check: string;
}

export interface Report {
  schema: typeof reportSchema;
  version: string;
  runtimeDirs: string[];
  uid: number;
  errors: number;
  warnings: number;
  findings: Finding[];
}

/** A line of the program's output. */
export type Told =
  | { type: 'begun'; version: string; runtimeDirs: string[]; checks: string[] }
  | { type: 'found'; finding: Finding }
  | { type: 'done'; check: string };

/** What the program is told in its argument, as JSON. */
export interface Wanted {
  /** Absolute; null = those that web servers and managers of this host name. */
  runtimeDir: string | null;
  /** Configuration files, absolute; none = those at the usual places and of running servers. */
  nginx: string[];
  apache: string[];
  /** Ids of checks; none = all. */
  only: string[];
}
