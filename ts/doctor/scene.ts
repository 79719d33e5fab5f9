// SPDX-License-Identifier: Apache-2.0
// What is looked at once and serves several checks: the installation, processes, configurations,
// runtime directories, what their managers say, and the classes.
import { fileURLToPath } from 'node:url';
import { NoManagerError, RequestFailedError } from '../control/client.ts';
import type { Events, Pong, Status } from '../control/messages.ts';
import {
  type ClassesOutcome,
  type ClassPlan,
  type DirectiveAsked,
  readClasses,
} from './classes.ts';
import { usesUsher } from './configuration-facts.ts';
import { type Configuration, findConfigurations } from './configurations.ts';
import { attempt, type Host, textOf } from './host.ts';
import { argument, launchersOf, type RunningProcess, readProcesses } from './processes.ts';
import type { Wanted } from './report.ts';

/** A file in <runtime>/servers, as far as everybody may understand it. */
export interface RegistrationFacts {
  file: string;
  text: string;
  server: string;
  kind: string;
  pid: number;
  user: string;
  configuration: string;
}

export interface RuntimeDirectory {
  path: string;
  /** null = none runs there, or it is not ours to see. */
  launcher: RunningProcess | null;
  /** null = not ours to see. */
  registrations: RegistrationFacts[] | null;
}

/** What a manager says within its deadline. */
export type ManagerView =
  | { state: 'alive'; pong: Pong; status: Status | null; events: Events | null; trouble: string }
  /** `silent`: connected, and no answer; `denied`: it is another user's; `broken`: no answer of a manager. */
  | { state: 'none' | 'silent' | 'denied' | 'broken'; trouble: string };

export interface Installation {
  /** Of this usher: the folder with bin, build and dist. */
  root: string;
  version: string;
  /** ">=20.17.0". */
  engines: string;
  dependencies: string[];
}

export interface Scene {
  host: Host;
  wanted: Wanted;
  installation: Installation;
  processes: RunningProcess[];
  configurations: Configuration[];
  runtimeDirs: RuntimeDirectory[];
  /** Of a runtime directory of the list. */
  manager(path: string): Promise<ManagerView>;
  classes: Promise<ClassesOutcome>;
}

const answerWithinMs = 2500;

export function makeScene(host: Host, wanted: Wanted): Scene {
  const installation = readInstallation(host);
  const processes = readProcesses(host);
  const launchers = launchersOf(host, processes);
  const chosen = wanted.runtimeDir;
  const registered = (chosen === null ? null : readRegistrations(host, chosen)) ?? [];
  const files = new Set(registered.map(({ configuration }) => configuration));
  const configurations = findConfigurations(host, wanted, processes, files);
  const runtimeDirs = chosenDirectories(host, chosen, configurations, launchers).map((path) => ({
    path,
    launcher: launchers.get(path) ?? null,
    registrations: readRegistrations(host, path),
  }));
  const managers = new Map<string, Promise<ManagerView>>();
  const asked = classesAsked(host, configurations, runtimeDirs);
  return {
    ...{ host, wanted, installation, processes, configurations, runtimeDirs },
    manager(path) {
      const known = managers.get(path) ?? askManager(host, path);
      managers.set(path, known);
      return known;
    },
    classes: readClasses(host, asked),
  };
}

/** Two above ts/doctor and dist/doctor. */
function readInstallation(host: Host): Installation {
  const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
  const text = textOf(host, `${root}/package.json`) ?? '{}';
  const {
    version = '',
    engines,
    dependencies,
  } = JSON.parse(text) as {
    version?: string;
    engines?: { node?: string };
    dependencies?: Record<string, string>;
  };
  const names = Object.keys(dependencies ?? {});
  return { root, version, engines: engines?.node ?? '', dependencies: names };
}

/** Those that configurations with Usher name, and those of managers that run; else the usual one. */
function chosenDirectories(
  host: Host,
  chosen: string | null,
  configurations: readonly Configuration[],
  launchers: ReadonlyMap<string, RunningProcess>,
): string[] {
  if (chosen !== null) return [chosen];
  const configured = configurations.flatMap((one) => runtimeDirOf(host, one) ?? []);
  const running = [...launchers].filter(([, { uid }]) => host.uid === 0 || uid === host.uid);
  const found = new Set([...configured, ...running.map(([path]) => path)]);
  if (found.size > 0) return [...found];
  const usual = usualRuntimeDir(host);
  return usual === null ? [] : [usual];
}

/** null = it does not use Usher, or nobody knows where. */
export function runtimeDirOf(host: Host, { facts }: Configuration): string | null {
  if (facts === null || !usesUsher(facts)) return null;
  return facts.runtimeDir?.path ?? usualRuntimeDir(host);
}

function usualRuntimeDir({ uid, env }: Host): string | null {
  if (uid === 0) return '/run/usher';
  return env.XDG_RUNTIME_DIR ? `${env.XDG_RUNTIME_DIR}/usher` : null;
}

/** null = not there, or not ours to see. */
function readRegistrations(host: Host, dir: string): RegistrationFacts[] | null {
  const names = attempt(() => host.list(`${dir}/servers`));
  if (names === null) return null;
  return names
    .filter((name) => name.endsWith('.conf'))
    .flatMap((name) => readRegistration(host, `${dir}/servers/${name}`) ?? []);
}

function readRegistration(host: Host, file: string): RegistrationFacts | null {
  const text = textOf(host, file);
  const [, server = '', rest = ''] = /^UsherServer (\S+) (.*)$/m.exec(text ?? '') ?? [];
  if (text === null || server === '') return null;
  const value = (name: string): string =>
    new RegExp(` -${name} ("(?:\\\\.|[^"])*"|\\S+)`).exec(` ${rest}`)?.[1]?.replace(/^"|"$/g, '') ??
    '';
  return {
    ...{ file, text, server, kind: value('kind'), pid: Number(value('pid')) },
    ...{ user: value('user'), configuration: value('configuration') },
  };
}

async function askManager(host: Host, path: string): Promise<ManagerView> {
  const client = host.manager(path, answerWithinMs);
  try {
    const pong = await client.ping();
    const [status, events] = await Promise.all([
      client.status().catch((error: Error) => error),
      client.events().catch((error: Error) => error),
    ]);
    return {
      ...{ state: 'alive', pong },
      status: status instanceof Error ? null : status,
      events: events instanceof Error ? null : events,
      trouble: status instanceof Error ? status.message : '',
    };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { state: stateOf(error), trouble: error.message };
  }
}

function stateOf(error: Error): 'none' | 'silent' | 'denied' | 'broken' {
  if (error instanceof NoManagerError) return 'none';
  if (!(error instanceof RequestFailedError)) throw error;
  if (error.code === 'timeout') return 'silent';
  return error.code === 'forbidden' ? 'denied' : 'broken';
}

function classesAsked(
  host: Host,
  configurations: readonly Configuration[],
  runtimeDirs: readonly RuntimeDirectory[],
): { texts: { file: string; text: string; user: string | null }[]; directives: DirectiveAsked[] } {
  const directives = configurations.flatMap(({ kind, facts }) =>
    (facts?.classes ?? []).map((one) => {
      return { ...one, kind, user: facts?.user ?? null, group: facts?.group ?? null };
    }),
  );
  const registrations = runtimeDirs.flatMap((dir) => dir.registrations ?? []);
  const own = runtimeDirs.flatMap(({ launcher }) => {
    const file = argument(launcher?.words ?? [], '--config');
    const text = file === null ? null : textOf(host, file);
    return file === null || text === null ? [] : [{ file, text, user: null }];
  });
  const texts = registrations.map(({ file, text, user }) => ({ file, text, user }));
  return { texts: [...own, ...texts], directives };
}

/** Each class once: as a configuration has it now, else as it is registered. */
export async function plansOf(scene: Scene): Promise<ClassPlan[] | null> {
  const outcome = await scene.classes;
  if (outcome.failure !== null) return null;
  const found = new Map<string, ClassPlan>();
  for (const plan of outcome.classes) found.set(`${plan.scope} ${plan.name}`, plan);
  return [...found.values()];
}

/** Of all classes together. */
export function mostInstances(plans: readonly ClassPlan[]): number {
  return plans.reduce((sum, { instances }) => sum + instances, 0);
}
