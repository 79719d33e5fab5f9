// SPDX-License-Identifier: Apache-2.0
// What usher.conf allows to be started, for a launcher that is root: it does not read the file itself,
// and does not believe the manager. Printed by `usherd --allow FILE`; the format is described in
// native/launcher/allow.h, where what web servers register is written as well.
import type { Registration } from '../config/dialect.ts';
import type { ClassConfig } from './class-config.ts';
import { configsOf } from './desired.ts';
import { listenOf } from './public-socket.ts';

/** One block for each class that has something to start. */
export function allowList(registration: Registration): string {
  return configsOf(registration)
    .filter(({ kind }) => kind === 'static')
    .map(blockOf)
    .join('');
}

function blockOf(config: ClassConfig): string {
  const { args, cwd, env, user, group, nice, resourceLimits, logFile, allowSetuid } = config;
  const { publicAddress, gateway } = config;
  const listen = publicAddress && listenOf(publicAddress);
  const fields: [name: string, values: readonly (string | number | null)[]][] = [
    ['gateway', [gateway?.name ?? null]],
    ['secret', [gateway?.secretFile ?? null]],
    ['arg', args],
    ['cwd', [cwd]],
    ['listen', [listen]],
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
