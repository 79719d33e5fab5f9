// SPDX-License-Identifier: Apache-2.0
// What usher.conf allows to be started, for a launcher that is root: it does not read the file itself,
// and does not believe the manager. Printed by `usherd --allow FILE`; the format is described in
// native/launcher/allow.h, where what web servers register is written as well.
import type { Registration } from '../config/dialect.ts';
import type { ClassConfig } from './class-config.ts';
import { configsOf } from './desired.ts';
import { type EngineProgram, environmentOf } from './engines/engine-config.ts';
import { listenOf } from './public-socket.ts';

type Value = string | number | null;

/** One block for each class that has something to start, and for each of its servlet engines. */
export function allowList(registration: Registration): string {
  return configsOf(registration)
    .filter(({ kind }) => kind === 'static')
    .map((config) => instanceBlock(config) + engineBlocks(config))
    .join('');
}

function instanceBlock(config: ClassConfig): string {
  const { publicAddress, gateway } = config;
  const listen = publicAddress && listenOf(publicAddress);
  return blockOf(config, [
    ['gateway', gateway?.name ?? null],
    ['secret', gateway?.secretFile ?? null],
    ['listen', listen],
  ]);
}

function engineBlocks({ engines }: ClassConfig): string {
  if (engines === null) return '';
  const { program, backends } = engines;
  return backends
    .map((backend) => ({ ...program, env: environmentOf(program, backend) }))
    .map((engine) => blockOf(engine, [['service', 1]]))
    .join('');
}

function blockOf(program: EngineProgram, kind: readonly [name: string, value: Value][]): string {
  const { args, cwd, env, user, group, nice, resourceLimits, logFile, allowSetuid } = program;
  const fields: [name: string, values: readonly Value[]][] = [
    ...kind.map(([name, value]): [string, Value[]] => [name, [value]]),
    ['arg', args],
    ['cwd', [cwd]],
    ['env', env],
    ['user', [user]],
    ['group', [group]],
    ['nice', [nice === 0 ? null : nice]],
    ['limit', resourceLimits],
    ['log', [logFile]],
    ['setuid', [allowSetuid ? 1 : null]],
  ];
  const lines = fields.flatMap(([name, values]) =>
    values.filter((value) => value !== null).map((value) => `${name}=${escaped(String(value))}`),
  );
  return `${['program', ...lines].join('\n')}\n`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
