// SPDX-License-Identifier: Apache-2.0
// Why a server could not answer a request, as its error log says.

import { readFileSync } from 'node:fs';
import type { Loss } from '../../servers/load.ts';
import type { Site } from '../../servers/site.ts';
import { files } from '../../servers/web-server.ts';

export type ReasonOf = (loss: Loss, port: number | undefined) => string;

/** nginx names the request. */
function nginxReasons(log: string): ReasonOf {
  const reasons = new Map<string, string>();
  for (const line of log.split('\n')) {
    const [, reason, path] = /\[error\] (.*), client: .* request: "\S+ (\S+) /.exec(line) ?? [];
    if (reason !== undefined && path !== undefined) reasons.set(path, reason);
  }
  return ({ path }) => reasons.get(path) ?? '';
}

/** Apache names the client's port, which may come again minutes later. */
function apacheReasons(log: string): ReasonOf {
  const said = log.split('\n').flatMap((line) => {
    const [, time = '', port, reason = ''] =
      /^\[([^\]]+)\] \[\S+:error\] .*\[client [\d.]+:(\d+)\] (.*)/.exec(line) ?? [];
    return port === undefined ? [] : [{ timeMs: Date.parse(time), port: Number(port), reason }];
  });
  return ({ at, beganMs, endedMs }, wanted) => {
    const fromMs = Date.parse(at);
    const untilMs = fromMs + endedMs - beganMs + 1000;
    const isIts = ({ timeMs, port }: (typeof said)[0]): boolean =>
      port === wanted && timeMs >= fromMs - 1 && timeMs <= untilMs;
    return said.findLast(isIts)?.reason ?? '';
  };
}

export function reasonsIn(site: Site): ReasonOf {
  const log = readFileSync(files.errorLog(site), 'utf8');
  return site.server.kind === 'nginx' ? nginxReasons(log) : apacheReasons(log);
}
