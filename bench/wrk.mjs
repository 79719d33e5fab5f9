// SPDX-License-Identifier: Apache-2.0
// The load generator: wrk, over kept-alive connections each of which asks again as soon as it is answered.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { root } from '../scripts/run.mjs';
import { installed } from './machine.mjs';

const execute = promisify(execFile);

/**
 * @param what port, method, path, length of the answer's body, and of the request's; count: how many paths,
 *   which are that path with numbers from 0
 * @returns requests a second, latencies in ms, how many answers were wrong and in what way
 */
export async function wrk(what, { connections, threads = 1 }, seconds) {
  const { port, method = 'GET', path, length = 0, body = 0, count = 1 } = what;
  const load = [`-t${threads}`, `-c${connections}`, `-d${seconds}`, '--timeout', '10', '--latency'];
  const url = `http://127.0.0.1:${port}${path}`;
  const script = ['-s', `${root}/bench/wrk.lua`, url, method, String(body), String(count)];
  const { stdout } = await execute(installed().wrk, [...load, ...script], {
    timeout: (seconds + 60) * 1000,
  });
  const line = stdout.split('\n').find((candidate) => candidate.startsWith('{'));
  if (line === undefined) throw new Error(`wrk ${url} prints no result: ${stdout}`);
  const { seconds: took, bytes, ...sample } = JSON.parse(line);
  // wrk looks at states and at the ends of answers; bodies without a length could be cut short.
  sample.errors.short = bytes < sample.requests * length ? 1 : 0;
  return { ...sample, perSecond: sample.requests / took };
}
