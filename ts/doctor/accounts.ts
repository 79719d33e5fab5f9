// SPDX-License-Identifier: Apache-2.0
// Users and groups, and what the mode of a file lets them do. Access control lists are not looked at.
import type { FileFacts, Host } from './host.ts';
import { attempt, textOf } from './host.ts';

export interface Account {
  name: string;
  uid: number;
  gids: readonly number[];
}

/** `unknown`: there is no such user or group. */
export async function findAccount(
  host: Host,
  user: string,
  group: string | null,
): Promise<Account | { unknown: string }> {
  const entry = await lookUp(host, 'passwd', user);
  const number = /^#(\d+)$/.exec(user)?.[1];
  if (entry === null && number === undefined) return { unknown: `user ${user}` };
  const [name = user, , uid = number, gid] = entry ?? [];
  const given = group === null ? null : await groupId(host, group);
  if (given === undefined) return { unknown: `group ${group}` };
  const own = given ?? Number(gid ?? -1);
  return { name, uid: Number(uid), gids: [own, ...supplementary(host, name)] };
}

/** undefined = there is none. */
async function groupId(host: Host, group: string): Promise<number | undefined> {
  const number = /^#(\d+)$/.exec(group)?.[1];
  if (number !== undefined) return Number(number);
  const entry = await lookUp(host, 'group', group);
  return entry === null ? undefined : Number(entry[2]);
}

/** In the files first: getent also asks directories, which may be slow. */
async function lookUp(
  host: Host,
  database: 'passwd' | 'group',
  name: string,
): Promise<string[] | null> {
  const [column, wanted] = name.startsWith('#') ? [2, name.slice(1)] : [0, name];
  const lines = (textOf(host, `/etc/${database}`) ?? '').split('\n');
  const entries = lines.map((line) => line.split(':'));
  const known = entries.find((entry) => entry.length > 2 && entry[column] === wanted);
  if (known !== undefined) return known;
  const { exitCode, output } = await host.run('getent', [database, wanted], { timeoutMs: 2000 });
  return exitCode === 0 ? (output.split('\n')[0] ?? '').split(':') : null;
}

function supplementary(host: Host, user: string): number[] {
  const lines = (textOf(host, '/etc/group') ?? '').split('\n').map((line) => line.split(':'));
  return lines
    .filter(([, , , members = '']) => members.split(',').includes(user))
    .map(([, , gid]) => Number(gid));
}

export function accountOf(host: Host, uid: number): Account {
  const lines = (textOf(host, '/etc/passwd') ?? '').split('\n').map((line) => line.split(':'));
  const [name = `#${uid}`, , , gid = '-1'] = lines.find(([, , id]) => id === String(uid)) ?? [];
  return { name, uid, gids: [Number(gid), ...supplementary(host, name)] };
}

export type Right = 'read' | 'write' | 'execute';

/** What mode and owner say. Root may do all but execute what nobody may. */
export function isAllowed(
  file: Pick<FileFacts, 'mode' | 'uid' | 'gid' | 'kind'>,
  { uid, gids }: Pick<Account, 'uid' | 'gids'>,
  right: Right,
): boolean {
  const bit = { read: 4, write: 2, execute: 1 }[right];
  if (uid === 0) return right !== 'execute' || file.kind === 'directory' || (file.mode & 0o111) > 0;
  if (file.uid === uid) return ((file.mode >> 6) & bit) > 0;
  if (gids.includes(file.gid)) return ((file.mode >> 3) & bit) > 0;
  return (file.mode & bit) > 0;
}

/** "/", "/srv", "/srv/app" for "/srv/app/x". */
export function directoriesOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.map((_, i) => `/${parts.slice(0, i).join('/')}`);
}

/** The first directory on the way that the account may not pass; null = none. */
export function barrierTo(host: Host, path: string, account: Account): string | null {
  const real = attempt(() => host.realpath(path)) ?? path;
  for (const directory of new Set([...directoriesOf(path), ...directoriesOf(real)])) {
    const facts = attempt(() => host.stat(directory));
    if (facts !== null && !isAllowed(facts, account, 'execute')) return directory;
  }
  return null;
}

export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
