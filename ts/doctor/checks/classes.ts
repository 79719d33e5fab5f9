// SPDX-License-Identifier: Apache-2.0
// Can each class be started, and how are those that were?
import { dirname } from 'node:path';
import type { BackendStatus, ClassStatus, Event, JourneyCause } from '../../control/messages.ts';
import { hintOf } from '../../manager/hints.ts';
import { type Account, accountOf, barrierTo, findAccount, isAllowed, octal } from '../accounts.ts';
import { type Check, count, failure, ok, orOk, skipped, some, warning } from '../check.ts';
import type { ClassPlan } from '../classes.ts';
import { attempt, type Host, isDenied, textOf } from '../host.ts';
import { findObstacle } from '../program.ts';
import type { FoundOut } from '../report.ts';
import { plansOf, type Scene } from '../scene.ts';

const group = 'Classes';

/** For each class that is to be looked at; what is well is told of all together. */
async function forEach(
  scene: Scene,
  isMeant: (plan: ClassPlan) => boolean,
  look: (plan: ClassPlan) => FoundOut[] | Promise<FoundOut[]>,
  well: (number: number) => string,
): Promise<FoundOut[]> {
  const plans = await plansOf(scene);
  if (plans === null) return [skipped('classes cannot be read without the addon')];
  const meant = plans.filter(isMeant);
  if (meant.length === 0) return [];
  const found = await Promise.all(meant.map(look));
  return orOk(found.flat(), well(meant.length));
}

/** Whom a class's programs run as: a launcher that is not root can start them as itself only. */
async function accountFor(scene: Scene, plan: ClassPlan): Promise<Account | { unknown: string }> {
  const { host, runtimeDirs, configurations } = scene;
  const file = plan.source.replace(/:\d+$/, '');
  const master = configurations.find(({ facts }) =>
    facts?.classes.some(({ place }) => place.startsWith(`${file}:`)),
  )?.master;
  const launcher = runtimeDirs.find(({ launcher }) => launcher !== null)?.launcher;
  const starter = launcher?.uid ?? master?.uid ?? host.uid;
  if (starter !== 0) return accountOf(host, starter);
  return plan.user === null ? accountOf(host, 0) : findAccount(host, plan.user, plan.group);
}

function because(cause: JourneyCause, what: string, plan: ClassPlan, where: string): FoundOut {
  const fix = hintOf(cause, { setting: null });
  return failure(`${plan.name}: ${what} [${cause}]`, fix, {
    where,
    why: `class at ${plan.source}`,
  });
}

const program: Check = {
  id: 'class-program',
  group,
  looksAt:
    'whether each program is there and its user may execute it, its interpreter is there, its `#!` line has no CR, its libraries are found',
  worst: 'error',
  remedy: 'what [troubleshooting.md](troubleshooting.md) says of the cause in brackets',
  run(scene) {
    return forEach(
      scene,
      (plan) => plan.program !== null,
      async (plan) => {
        const account = await accountFor(scene, plan);
        if ('unknown' in account || plan.program === null) return [];
        const { path, libraryPath } = plan;
        try {
          const obstacle = findObstacle(scene.host, plan.program, { account, path, libraryPath });
          return obstacle === null
            ? []
            : [because(obstacle.cause, obstacle.what, plan, obstacle.where)];
        } catch (error) {
          if (!isDenied(error)) throw error;
          return [
            skipped(`${plan.name}: its program is not ours to see`, {
              where: plan.program,
              why: 'be root',
            }),
          ];
        }
      },
      (number) => `${count(number, 'program')} can be started`,
    );
  },
};

const user: Check = {
  id: 'class-user',
  group,
  looksAt:
    'whether user and group of each class exist and may be taken; which classes run as the web server’s own user',
  worst: 'error',
  remedy: 'create the user; run the launcher as root; `-user` gives a class one of its own',
  async run(scene) {
    const owners = new Set([
      ...scene.configurations.flatMap(({ facts }) => facts?.user ?? []),
      ...scene.runtimeDirs.flatMap((dir) => (dir.registrations ?? []).map((one) => one.user)),
    ]);
    const found = await forEach(
      scene,
      (plan) => plan.user !== null,
      async (plan) => {
        const account = await findAccount(scene.host, plan.user ?? '', plan.group);
        if ('unknown' in account)
          return [because('user-unknown', `${account.unknown} does not exist`, plan, plan.source)];
        const actual = await accountFor(scene, plan);
        if ('unknown' in actual || actual.uid === account.uid || owners.has(plan.user ?? ''))
          return [];
        return [
          because(
            'user-denied',
            `${actual.name} cannot start programs as ${account.name}`,
            plan,
            plan.source,
          ),
        ];
      },
      (number) => `${count(number, 'class', 'classes')} with a user that exists`,
    );
    const plans = (await plansOf(scene)) ?? [];
    const shared = plans.filter(({ user, program }) => program !== null && owners.has(user ?? ''));
    if (shared.length === 0) return found;
    const why =
      'nothing keeps such a program from the web server’s files and from other classes of that user; -user does';
    const names = some(shared.map(({ name }) => name));
    return [...found, ok(`run as the web server’s own user: ${names}`, { why })];
  },
};

const files: Check = {
  id: 'class-files',
  group,
  looksAt: 'working directory, `-log` and `-secret-file` of each class',
  worst: 'error',
  remedy: 'create or open them, as it says',
  run(scene) {
    return forEach(
      scene,
      ({ scope }) => scope !== 'dynamic',
      async (plan) => {
        const account = await accountFor(scene, plan);
        if ('unknown' in account) return [];
        return [
          ...directoryOf(scene.host, plan, account),
          ...logOf(scene.host, plan),
          ...secretOf(scene.host, plan),
        ];
      },
      () => 'directories and files that classes name are there',
    );
  },
};

function directoryOf(host: Host, plan: ClassPlan, account: Account): FoundOut[] {
  const { cwd, program: file } = plan;
  if (file === null || cwd === '/' || cwd === dirname(file)) return [];
  const facts = attempt(() => host.stat(cwd));
  if (facts === null)
    return isSeen(host, cwd)
      ? [because('cwd-missing', 'its directory does not exist', plan, cwd)]
      : [];
  const isClosed = barrierTo(host, cwd, account) !== null || !isAllowed(facts, account, 'execute');
  return isClosed
    ? [because('cwd-denied', `${account.name} may not enter its directory`, plan, cwd)]
    : [];
}

/** False where not being seen says nothing. */
function isSeen(host: Host, path: string): boolean {
  try {
    host.stat(path);
    return true;
  } catch (error) {
    return !isDenied(error);
  }
}

function logOf(host: Host, plan: ClassPlan): FoundOut[] {
  const { log, name, source } = plan;
  const folder = log === null ? null : dirname(log);
  if (folder === null || attempt(() => host.stat(folder)) !== null || !isSeen(host, folder))
    return [];
  const fix = `mkdir -p ${folder}, for the class's user`;
  return [
    failure(`${name}: the directory of its -log does not exist`, fix, {
      where: folder,
      why: `class at ${source}`,
    }),
  ];
}

function secretOf(host: Host, plan: ClassPlan): FoundOut[] {
  const { secretFile, name, source } = plan;
  if (secretFile === null) return [];
  const facts = attempt(() => host.stat(secretFile));
  const details = { where: secretFile, why: `class at ${source}` };
  if (facts === null) {
    if (!isSeen(host, secretFile))
      return [skipped(`${name}: its secret is not ours to see`, { where: secretFile })];
    return [
      failure(
        `${name}: its -secret-file does not exist`,
        'create it, owner root, mode 0600',
        details,
      ),
    ];
  }
  if ((facts.mode & 0o077) === 0) return [];
  const what = `${name}: others may read its -secret-file (mode ${octal(facts.mode)})`;
  return [warning(what, `chmod 0600 ${secretFile}`, details)];
}

const address: Check = {
  id: 'class-address',
  group,
  looksAt:
    'whether the public address of a class (`-port`, `-socket`) is free where Usher does not run',
  worst: 'error',
  remedy: 'stop who listens there, or take another address',
  async run(scene) {
    const views = await Promise.all(scene.runtimeDirs.map(({ path }) => scene.manager(path)));
    if (
      views.some(({ state }) => state !== 'none') ||
      scene.runtimeDirs.some(({ launcher }) => launcher !== null)
    )
      return [];
    const taken = listeningPorts(scene.host);
    return forEach(
      scene,
      ({ listen }) => listen !== null,
      (plan) => {
        const port = Number(/^tcp:.*?(\d+)$/.exec(plan.listen ?? '')?.[1]);
        if (!taken.has(port)) return [];
        return [
          because(
            'address-in-use',
            `somebody listens at port ${port} already`,
            plan,
            `ss -ltnp 'sport = ${port}'`,
          ),
        ];
      },
      (number) => `${count(number, 'public address', 'public addresses')} free`,
    );
  },
};

/** By /proc/net/tcp and tcp6: sockets in state 0A, their ports in hexadecimal. */
export function listeningPorts(host: Host): Set<number> {
  const text = ['tcp', 'tcp6'].map((name) => textOf(host, `/proc/net/${name}`) ?? '').join('\n');
  const found = text.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /gm);
  return new Set([...found].map(([, port = '']) => Number.parseInt(port, 16)));
}

const answerWithinMs = 2000;

const backends: Check = {
  id: 'class-backends',
  group,
  looksAt:
    'whether hosts of external classes accept connections and servlet engines answer: by the manager’s word, else asked by CPING',
  worst: 'error',
  remedy: 'start them; correct the address',
  async run(scene) {
    const known = await classesNow(scene);
    return forEach(
      scene,
      (plan) => plan.backends.length > 0 && !plan.startsEngines,
      async (plan) => {
        const told = known.find(({ name }) => name === plan.name)?.backends ?? [];
        const down = told.length > 0 ? saidDown(told) : await foundDown(scene.host, plan);
        if (down.length === 0) return [];
        const where = plan.source;
        const why = some(down.map(({ address, reason }) => `${address}: ${reason}`));
        const fix = 'start it, or correct its address';
        const number =
          told.length > 0
            ? told.filter(({ state }) => state !== 'disabled').length
            : plan.backends.length;
        if (down.length < number)
          return [
            warning(`${plan.name}: ${down.length} of ${number} hosts are down`, fix, {
              where,
              why,
            }),
          ];
        return [failure(`${plan.name}: nobody answers at its address`, fix, { where, why })];
      },
      (number) => `${count(number, 'external class', 'external classes')} answered`,
    );
  },
};

interface Down {
  address: string;
  reason: string;
}

function saidDown(told: readonly BackendStatus[]): Down[] {
  const down = told.filter(({ state }) => state === 'down');
  return down.map(({ address, name, lastError }) => {
    return { address: name ?? address, reason: lastError ?? 'down' };
  });
}

async function foundDown(host: Host, plan: ClassPlan): Promise<Down[]> {
  const { protocol, authenticates } = plan;
  const answers = await Promise.all(
    plan.backends.map(async (address): Promise<Down[]> => {
      if (protocol !== 'ajp' && protocol !== 'ajp12') {
        const reason = await host.connect(address, answerWithinMs);
        return reason === null ? [] : [{ address, reason }];
      }
      const look = await host.probe({ address, protocol, authenticates }, answerWithinMs);
      return look.outcome === 'up' || look.outcome === 'hidden'
        ? []
        : [{ address, reason: look.error }];
    }),
  );
  return answers.flat();
}

async function classesNow(scene: Scene): Promise<ClassStatus[]> {
  const views = await Promise.all(scene.runtimeDirs.map(({ path }) => scene.manager(path)));
  return views.flatMap((view) => (view.state === 'alive' ? (view.status?.classes ?? []) : []));
}

const flappingMs = 600_000;
const flappingTimes = 5;

const state: Check = {
  id: 'class-state',
  group,
  looksAt:
    'classes that have failed or are refused, with the cause of their last start, and those whose instances die again and again',
  worst: 'error',
  remedy: '`usher explain CLASS`, then `usher retry CLASS`',
  async run(scene) {
    const found = scene.runtimeDirs.map(async ({ path }): Promise<FoundOut[]> => {
      const view = await scene.manager(path);
      if (view.state !== 'alive') return [];
      if (view.status === null)
        return [skipped('its classes are not told', { where: path, why: view.trouble })];
      const { classes } = view.status;
      const wrong = [
        ...classes.flatMap(stateOf),
        ...flapping(view.events?.events ?? [], scene.host.now()),
      ];
      return orOk(wrong, `${count(classes.length, 'class', 'classes')}, none has failed`, {
        where: path,
      });
    });
    return (await Promise.all(found)).flat();
  },
};

function stateOf({ name, state: now, lastFailure, lastEvent, source }: ClassStatus): FoundOut[] {
  const mayTryAgain = now === 'cold' && lastEvent?.event === 'class.failed';
  if (now !== 'failed' && now !== 'refused' && !mayTryAgain) return [];
  const cause = lastFailure?.cause ? ` [${lastFailure.cause}]` : '';
  const why = lastFailure?.explanation ?? lastEvent?.text ?? '';
  const fix = `${lastFailure?.hint ? `${lastFailure.hint} ` : ''}More: usher explain ${name}; then usher retry ${name}`;
  const what = mayTryAgain ? `${name}: its last start failed` : `${name} is ${now}`;
  return [failure(`${what}${cause}`, fix, { where: source, why })];
}

/** Of a class whose instances have ended unasked several times lately. */
function flapping(events: readonly Event[], now: number): FoundOut[] {
  const ends = events.filter(
    ({ event, at, level }) =>
      event === 'instance.exited' && level !== 'info' && now - Date.parse(at) < flappingMs,
  );
  const names = new Set(ends.flatMap(({ class: name }) => name ?? []));
  return [...names].flatMap((name) => {
    const own = ends.filter((one) => one.class === name);
    if (own.length < flappingTimes) return [];
    const what = `${name}: instances ended ${own.length} times within ten minutes`;
    return [
      warning(what, `usher explain ${name}; usher logs ${name}`, { why: own.at(-1)?.text ?? '' }),
    ];
  });
}

const registered: Check = {
  id: 'class-directives',
  group,
  looksAt:
    'lines of registrations and of usher.conf that the installed version does not understand',
  worst: 'warning',
  remedy: 'correct the line; use modules and manager of one version',
  async run(scene) {
    const outcome = await scene.classes;
    if (outcome.failure !== null) return [];
    return outcome.errors.map((error) => {
      const [, where = '', what = error] = /^(\S+:\d+): (.*)$/s.exec(error) ?? [];
      return warning(`a line cannot be used: ${what}`, 'correct it, and reload', {
        where,
        why: 'requests for its class get 503',
      });
    });
  },
};

export const classChecks: readonly Check[] = [
  ...[program, user, files, address, backends, state, registered],
];
