// SPDX-License-Identifier: Apache-2.0
// The demonstration: Apache and nginx serve the same programs, one manager runs them. Everything it
// makes lies in one temporary directory and is gone afterwards.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../scripts/run.mjs';
import { makeSite } from './site.mjs';

const START_MS = 10_000;
/** The manager notices after three seconds that the last server is gone, then ends the programs. */
const END_MS = 15_000;

export async function demonstrate() {
  const ports = {
    apache: portOf('USHER_DEMO_APACHE_PORT', 8080),
    nginx: portOf('USHER_DEMO_NGINX_PORT', 8081),
    dashboard: portOf('USHER_DEMO_DASHBOARD_PORT', 8082),
  };
  for (const [name, port] of Object.entries(ports)) {
    if (await isTaken(port)) {
      throw new Error(
        `port ${port} is in use; choose another one with USHER_DEMO_${name.toUpperCase()}_PORT`,
      );
    }
  }
  const stopped = new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  const site = makeSite(ports);
  const servers = [];
  try {
    for (const { name, command, port } of site.servers) {
      servers.push(await startServer(name, command, port, site));
    }
    introduce(site, ports);
    await Promise.race([stopped, ...servers.map(({ ended }) => ended)]);
  } finally {
    console.log('\nstopping …');
    await stop(servers, site);
  }
}

async function startServer(name, [program, ...args], port, site) {
  // A group of its own: Ctrl-C is for us, we stop it in order.
  const child = spawn(program, args, { stdio: 'inherit', detached: true });
  const ended = new Promise((_, reject) => {
    child.once('error', (error) => reject(new Error(`${name} did not start: ${error.message}`)));
    child.once('exit', (code, signal) => reject(new Error(ending(name, code ?? signal, site))));
  });
  ended.catch(() => undefined); // looked at when the demonstration waits for it
  const untilMs = performance.now() + START_MS;
  while (!(await isTaken(port))) {
    if (performance.now() > untilMs) throw new Error(`${name} does not listen on port ${port}`);
    await Promise.race([sleep(50), ended]);
  }
  return { name, child, ended };
}

function ending(name, how, { directory }) {
  const log = `${directory}/${name.toLowerCase()}/error.log`;
  const said = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-5) : [];
  return [`${name} ended (${how})`, ...said].join('\n  ');
}

async function stop(servers, site) {
  await Promise.all(
    servers.map(async ({ child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    }),
  );
  const untilMs = performance.now() + END_MS;
  while (existsSync(site.runtimeDir) && performance.now() < untilMs) await sleep(100);
  if (existsSync(site.runtimeDir)) {
    console.error(`the manager did not end in time: see ${site.runtimeDir}/usher.log`);
    process.exitCode = 1;
    return;
  }
  rmSync(site.directory, { recursive: true });
  console.log('everything is stopped and removed');
}

function introduce(site, ports) {
  console.log(`
  Apache   http://127.0.0.1:${ports.apache}/
  nginx    http://127.0.0.1:${ports.nginx}/
  status   http://127.0.0.1:${ports.dashboard}/

${site.pages.map(({ path, about }) => `    ${path.padEnd(20)} ${about}`).join('\n')}

  what runs   ${root}/bin/usher status --runtime-dir ${site.runtimeDir}
  its log     ${site.runtimeDir}/usher.log
  the servers ${site.directory}/{apache,nginx}/

  Ctrl-C stops everything.
`);
}

function portOf(variable, otherwise) {
  const port = Number(process.env[variable] ?? otherwise);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new Error(`${variable}=${process.env[variable]}: expected a port, 1 to 65535`);
}

function isTaken(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
