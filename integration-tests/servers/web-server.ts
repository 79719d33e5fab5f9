// SPDX-License-Identifier: Apache-2.0
// What the tests need to know of a web server; nginx.ts and apache.ts are the two kinds.

/** Where a server's private files are and whom its workers run as. */
export interface Place {
  /** Directory of everything: configuration, logs, process id. */
  dir: string;
  /** Document root. */
  docs: string;
  runtimeDir: string;
  ports: number[];
  /** Whom the workers run as; undefined: whoever starts the server. */
  user: string | undefined;
  group: string | undefined;
}

export type Ending = 'TERM' | 'graceful' | 'KILL';

export interface WebServer {
  /** As it stands in test reports. */
  name: string;
  kind: 'nginx' | 'apache';
  hasHttp2: boolean;
  /** The whole configuration file: what every test needs, with what one test says inside. */
  configuration: (place: Place, text: string) => string;
  /** The command that starts it in the background, and the one that only reads the configuration. */
  startCommand: (place: Place) => string[];
  checkCommand: (place: Place) => string[];
  /**
   * Whether it has begun: `children` are the master's, `log` is its error log since its start. A
   * master listens before it has workers; until then nobody would outlive it, nor would all of it
   * get a signal.
   */
  hasBegun: (children: readonly number[], log: string) => boolean;
  /** The signals for its master. */
  reloadSignal: NodeJS.Signals;
  endingSignals: Record<Ending, NodeJS.Signals>;
}

/** Files of one server inside its directory. */
export const files = {
  configuration: (place: Place) => `${place.dir}/server.conf`,
  errorLog: (place: Place) => `${place.dir}/error.log`,
  accessLog: (place: Place) => `${place.dir}/access.log`,
  pid: (place: Place) => `${place.dir}/server.pid`,
};
