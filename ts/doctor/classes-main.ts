// SPDX-License-Identifier: Apache-2.0
// A program: reads class directives as JSON from standard input and prints what the manager would make
// of them. A process of its own, since an addon that does not fit ends whoever loads it.
import { readFileSync } from 'node:fs';
import { readDialect } from '../config/dialect.ts';
import {
  type ClassConfig,
  dynamicConfig,
  externalConfig,
  type Options,
  staticConfig,
} from '../manager/class-config.ts';
import { native } from '../native/native.ts';
import type { ClassesAsked, ClassesRead, ClassPlan, DirectiveAsked } from './classes.ts';

const asked = JSON.parse(readFileSync(0, 'utf8')) as ClassesAsked;
const result: ClassesRead = {
  layoutVersion: native.limits.layoutVersion ?? 0,
  classes: [],
  errors: [],
};
for (const { file, text, user } of asked.texts) readText(file, text, user);
for (const directive of asked.directives) readDirective(directive);
process.stdout.write(JSON.stringify(result));

function readText(file: string, text: string, user: string | null): void {
  const { registration, errors } = readDialect(text, file, native);
  const { server, roots, dynamic } = registration;
  const owner = { user: server?.user ?? user, group: server?.group ?? null, roots, pathCheck: '' };
  for (const { scope, name, options, source } of registration.classes) {
    const config = scope === 'static' ? staticConfig : externalConfig;
    add(config(name, options, owner, source), scope, options);
  }
  if (dynamic !== undefined) addDynamic(dynamic.options, dynamic.source);
  for (const error of errors) result.errors.push(error.message);
}

function readDirective({ kind, scope, name, words, place, user, group }: DirectiveAsked): void {
  const owner = { user, group, roots: [], pathCheck: '' };
  try {
    const spelled = kind === 'nginx' ? words.flatMap(fromNginx) : words;
    const options = native.parseOptions(scope, spelled, scope === 'dynamic' ? undefined : name);
    if (scope === 'dynamic') addDynamic(options, place);
    else {
      const config = scope === 'static' ? staticConfig : externalConfig;
      add(config(name, options, owner, place), scope, options);
    }
  } catch (error) {
    const isObjection = (error as NodeJS.ErrnoException).code === 'ERR_USHER_INVALID';
    if (!isObjection) throw error; // else the server's own test says it
  }
}

/** "max_class_processes=8" → -maxClassProcesses 8. */
function fromNginx(word: string): string[] {
  const at = word.indexOf('=');
  const name = at === -1 ? word : word.slice(0, at);
  const known = native.options().flatMap((row) => [row.name, ...row.aliases]);
  const option = `-${known.find((one) => nginxSpelling(one) === name) ?? name}`;
  return at === -1 ? [option] : [option, word.slice(at + 1)];
}

function nginxSpelling(name: string): string {
  return name
    .replace(/-/g, '_')
    .replace(/(?<=[^_])([A-Z])/g, '_$1')
    .toLowerCase();
}

function addDynamic(options: Options, source: string): void {
  const owner = { user: null, group: null, roots: [], pathCheck: '' };
  const config = dynamicConfig('', options, owner);
  add({ ...config, source, args: [], max: config.poolMax }, 'dynamic', options);
}

function add(config: ClassConfig, scope: ClassPlan['scope'], options: Options): void {
  const { key, source, protocol, gateway, engines, publicAddress, limits } = config;
  const program = engines?.program ?? config;
  const isGateway = gateway !== null && engines === null;
  const ofGateway = gateway?.args.slice(gateway.args.indexOf('--program') + 1) ?? [];
  const args = !isGateway ? program.args : gateway.args.includes('--program') ? ofGateway : [];
  const variable = (name: string): string | null =>
    program.env.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
  result.classes.push({
    ...{ name: key, source, scope, protocol },
    program: scope === 'external' ? null : (args[0] ?? null),
    cwd: isGateway ? '/' : program.cwd,
    user: program.user,
    group: program.group,
    path: variable('PATH') ?? '',
    libraryPath: variable('LD_LIBRARY_PATH') ?? '',
    log: program.logFile,
    secretFile: gateway?.secretFile ?? null,
    allowSetuid: program.allowSetuid,
    fileLimit: limitOf(program.resourceLimits, 'nofile'),
    places: Math.max(config.max, config.hosts.length) * config.concurrency,
    instances: config.max + (engines?.backends.length ?? 0),
    listen: publicAddress === null ? null : addressText(publicAddress),
    backlog: typeof options.listenQueueDepth === 'number' ? options.listenQueueDepth : 0,
    startsEngines: engines !== null,
    backends:
      gateway === null || gateway.name === 'cgi'
        ? [...config.hosts, ...config.backups, ...(config.socket ? [`unix:${config.socket}`] : [])]
        : gateway.backends
            .filter(({ activation }) => activation !== 'stopped')
            .map(({ name }) => name),
    authenticates: protocol === 'ajp12' && gateway?.secretFile != null,
    queueLimit: limits.queueLimit,
  });
}

function limitOf(limits: readonly string[], name: string): number | null {
  const value = Number(limits.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1));
  return Number.isFinite(value) ? value : null;
}

function addressText(address: NonNullable<ClassConfig['publicAddress']>): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `tcp:${address.listen}`;
}
