// SPDX-License-Identifier: Apache-2.0
// What a scenario is: something that happens again and again to a server under load.

import type { WebServer } from '../servers/web-server.ts';
import type { ClassOptions, Program, ProgramName } from './programs.ts';
import type { Methods, Tortured } from './tortured.ts';

export interface Scenario {
  name: string;
  /** For the manual: what happens, and what must hold. */
  title: string;
  /** Which servers it can be done to; all when left out. */
  kind?: WebServer['kind'];
  programs: readonly ProgramName[];
  options: (program: Program) => ClassOptions;
  /** How many classes; 1 when left out. */
  classes?: (program: Program, count: number) => number;
  /** How many clients make requests all the time; 0: the scenario makes its own. */
  clients: (program: Program) => number;
  methods: Methods;
  sleepMs: number;
  /** How often, in the full form and within `npm test`. */
  full: number | Record<WebServer['kind'], number>;
  short: number;
  /** How many requests may be lost over so many events; none when left out. */
  mayLose?: (events: number, program: Program) => number;
  /** Lets it happen so many times, adding up tortured.events. */
  run: (tortured: Tortured, count: number) => Promise<void>;
}

export function fullCount({ full }: Scenario, { kind }: WebServer): number {
  return typeof full === 'number' ? full : full[kind];
}
