// SPDX-License-Identifier: Apache-2.0
// What installing wants to know of a web server, and where its files go.
import { readFileSync } from 'node:fs';
import type { ServerKind } from '../manifest.ts';

/** A line of a configuration that only Usher's module understands. */
export interface Use {
  file: string;
  line: number;
  text: string;
}

/** A file or link to be there; `source` is the file of packaging/ that it is made of. */
export type Placement =
  | { kind: 'file'; path: string; source: string; what: string }
  | { kind: 'link'; path: string; target: string; what: string };

export interface WebServer {
  kind: ServerKind;
  /** As it names itself: nginx/1.22.1, Apache/2.4.71. */
  version: string;
  /** The Debian packages that building a module for it takes. */
  buildPackages: string[];
  placements: Placement[];
  /** What its administrator edits. */
  configuration: string;
  /** What is left to do by hand where it is not laid out as Debian does. */
  byHand: string | null;
  /** The command that lets a running one take over its configuration. */
  reload: string;
  /** Loads a module with a configuration of our own. @returns Why it cannot be loaded, or null. */
  checkModule(path: string): Promise<string | null>;
  /** @returns What it says of the configuration that it has, or null. */
  checkConfiguration(): Promise<string | null>;
  /** What its configuration uses of Usher, except in `ignored` files; null = it cannot be read. */
  uses(ignored: ReadonlySet<string>): Promise<Use[] | null>;
}

/** The lines of a file that still exists, else none. */
export function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
