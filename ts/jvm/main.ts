// SPDX-License-Identifier: Apache-2.0
// usher-jvm: what mod_jserv takes for a Java virtual machine. It runs a program made with usher/runtime, or
// the servlets of JServ's zones, over AJP 1.2 where jserv.properties says.
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from '../config/config-error.ts';
import { type JservProperties, parseJservProperties } from '../config/jserv-properties.ts';
import { type ListenOptions, type ServeOptions, serve } from '../runtime/index.ts';
import { type JvmCommand, JvmUsageError, parseJvmCommand } from './command-line.ts';
import { engineAddress, spelled } from './engine-address.ts';
import { sendSignal } from './signal.ts';
import { loadServlets } from './zones.ts';

const numeric = [
  ...['processes', 'maxProcesses', 'threads', 'backlog', 'deadlineMs', 'maxRequests'],
  ...['maxMemoryMb', 'stopMs'],
];
const known = ['program', 'model', 'style', ...numeric];

/** The smallest that runtime programs send. */
const CHALLENGE_BYTES_MIN = 5;

/** @param words Of the command line, without the program itself. What fails is told, and ends the process. */
export async function run(words: readonly string[]): Promise<void> {
  try {
    await main(words);
  } catch (error) {
    const isOurs = error instanceof JvmUsageError || error instanceof ConfigError;
    const text = isOurs || !(error instanceof Error) ? String(error) : error.stack;
    process.stderr.write(`usher-jvm: ${isOurs ? (error as Error).message : text}\n`);
    process.exit(1);
  }
}

async function main(words: readonly string[]): Promise<void> {
  const command = parseJvmCommand(words);
  if (command.action === 'version') {
    const own = new URL('../../package.json', import.meta.url);
    process.stdout.write(`usher-jvm ${JSON.parse(readFileSync(own, 'utf8')).version}\n`);
    return;
  }
  const file = command.propertiesFile;
  const properties = parseJservProperties(readFileSync(file, 'utf8'), file);
  if (command.action !== 'run') {
    await sendSignal(properties, command.action === 'stop' ? 'shutdown' : 'restart');
    return;
  }
  const unknown = [...properties.usher.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new Error(
      `${file}: usher.${unknown} is unknown; known are usher.${known.join(', usher.')}`,
    );
  }
  for (const [name, value] of command.properties) process.env[name] = value;
  const program = programOf(command, properties);
  if (program !== null) await runProgram(program, command, properties);
  else await runZones(command, properties);
}

function listenOptions(properties: JservProperties): ListenOptions {
  const { secretKeyFile, challengeSize, allowedAddresses } = properties;
  return {
    protocol: 'ajp12',
    address: spelled(engineAddress(properties)),
    ...(secretKeyFile === null
      ? {}
      : {
          secretFile: secretKeyFile,
          challengeBytes: Math.max(CHALLENGE_BYTES_MIN, challengeSize),
        }),
    ...(allowedAddresses === null ? {} : { allow: allowedAddresses }),
  };
}

/** Path; null = the zones' servlets. */
function programOf(command: JvmCommand, { usher }: JservProperties): string | null {
  const given = command.properties.get('usher.program') ?? usher.get('program');
  if (given !== undefined) return resolve(given);
  const { mainClass } = command;
  return /\.[cm]?[jt]s$/.test(mainClass) || mainClass.includes('/') ? resolve(mainClass) : null;
}

/** In this process, as if it had been started itself. */
async function runProgram(
  program: string,
  { propertiesFile, rest }: JvmCommand,
  properties: JservProperties,
): Promise<void> {
  if (!existsSync(program)) throw new Error(`the program ${program} does not exist`);
  const option = [...properties.usher.keys()].find((key) => key !== 'program');
  if (option !== undefined) {
    throw new Error(`${propertiesFile}: usher.${option}: the program itself says it to serve()`);
  }
  process.env.USHER_LISTEN = JSON.stringify([listenOptions(properties)]);
  process.argv.splice(1, process.argv.length, program, ...rest);
  await import(pathToFileURL(program).href);
}

async function runZones(command: JvmCommand, properties: JservProperties): Promise<void> {
  const { classPath, propertiesFile } = command;
  const zones = new Map<string, string>();
  for (const [zone, file] of properties.zones) {
    if (file === null)
      throw new Error(`${propertiesFile}: zone ${zone}: ${zone}.properties=FILE is missing`);
    zones.set(zone, file);
  }
  const directories = (classPath ?? process.env.CLASSPATH ?? '').split(':').filter(Boolean);
  const { handlers, init } = await loadServlets(zones, directories);
  if (Object.keys(handlers).length === 0) {
    throw new Error(
      `${propertiesFile}: nothing to run: neither a program (-Dusher.program=FILE, usher.program=FILE,` +
        ` its path in place of the class) nor servlets (zones=…, ZONE.properties=FILE with servlet.NAME.code=…)`,
    );
  }
  await serve(handlers, {
    ...serveOptions(properties),
    listen: listenOptions(properties),
    onWorkerStart: init,
  });
}

function serveOptions({ usher }: JservProperties): ServeOptions {
  const entries = [...usher].map(([key, value]) => [
    key,
    numeric.includes(key) ? Number(value) : value,
  ]);
  return Object.fromEntries(entries) as ServeOptions;
}
