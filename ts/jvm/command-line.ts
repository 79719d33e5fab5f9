// SPDX-License-Identifier: Apache-2.0
// The command line of a Java virtual machine, as mod_jserv makes it from jserv.properties:
//
//   java [options] [-classpath DIRS] CLASS JSERV.PROPERTIES [arguments]

export interface JvmCommand {
  /** -Dname=value. */
  properties: ReadonlyMap<string, string>;
  /** -classpath, -cp; null = not given. */
  classPath: string | null;
  /** Name of a class, for JServ; or path of a program. */
  mainClass: string;
  /** Path of jserv.properties. */
  propertiesFile: string;
  /** JServ's own words: stop and restart speak to an engine that runs. */
  action: 'run' | 'stop' | 'restart' | 'version';
  rest: readonly string[];
}

/** The message tells the usage. */
export class JvmUsageError extends Error {
  override name = 'JvmUsageError';

  constructor(reason: string) {
    super(`${reason}\n${usage}`);
  }
}

export const usage = `usage: usher-jvm [options of a virtual machine] CLASS JSERV.PROPERTIES [-s|-r|-v] [arguments]

  -Dusher.program=FILE   the program that serves; else CLASS when it is the path of a program, else
                         usher.program in the properties, else the servlets of the zones' files
  -Dname=value           a variable of the program's environment
  -classpath, -cp DIRS   where the programs of servlets are looked for as well
  -X…, -ea, -server …    mean something to a virtual machine only
  -s, -r, -v             stop, restart the engine that runs; tell the version`;

const classPathOptions = new Set(['-cp', '-classpath', '--class-path']);
/** Options whose value is a word of its own. */
const withValue = new Set([
  ...['-p', '--module-path', '--upgrade-module-path', '--add-modules', '--add-reads'],
  ...['--add-exports', '--add-opens', '--limit-modules', '--patch-module'],
]);
/** Of virtual machines, of JServ's time and ours. */
const ignored = new RegExp(
  `^-(?:${[
    ...[
      'X.*',
      'ea.*',
      'da.*',
      'esa',
      'dsa',
      'enable.*',
      'disable.*',
      'server',
      'client',
      'hotspot',
    ],
    ...['classic', 'native', 'green', 'nojit', 'noclassgc', 'noasyncgc', 'verbose.*', 'verify.*'],
    ...['noverify', 'd32', 'd64', 'javaagent:.*', 'agent(?:lib|path):.*', 'splash:.*', 'ms\\d.*'],
    ...['mx\\d.*', 'ss\\d.*', 'oss\\d.*', 'prof.*', 'cs', 'checksource', '-[a-z-]+=.*'],
    ...['-illegal.*', '-enable.*'],
  ].join('|')})$`,
);

/** @throws JvmUsageError */
export function parseJvmCommand(words: readonly string[]): JvmCommand {
  const properties = new Map<string, string>();
  let classPath: string | null = null;
  let at = 0;
  for (; words[at]?.startsWith('-'); at++) {
    const word = words[at] as string;
    if (classPathOptions.has(word) || withValue.has(word)) {
      const value = words[++at];
      if (value === undefined) throw new JvmUsageError(`${word}: a value is missing`);
      if (classPathOptions.has(word)) classPath = value;
    } else if (word.startsWith('-D')) {
      const [, name, value = ''] = /^-D([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
      if (name === undefined) throw new JvmUsageError(`"${word}": expected -Dname=value`);
      properties.set(name, value);
    } else if (word === '-version' || word === '--version') {
      const action = 'version';
      return { properties, classPath, mainClass: '', propertiesFile: '', action, rest: [] };
    } else if (!ignored.test(word)) {
      throw new JvmUsageError(`${word}: no option of a virtual machine that is known`);
    }
  }
  const [mainClass, propertiesFile, ...rest] = words.slice(at);
  if (mainClass === undefined) throw new JvmUsageError('a class is missing');
  if (propertiesFile === undefined) {
    throw new JvmUsageError(
      `after the class ${mainClass} the path of a jserv.properties is missing`,
    );
  }
  return { properties, classPath, mainClass, propertiesFile, action: actionOf(rest), rest };
}

function actionOf(rest: readonly string[]): JvmCommand['action'] {
  if (rest.includes('-s')) return 'stop';
  if (rest.includes('-r')) return 'restart';
  return rest.some((word) => word === '-v' || word === '-V') ? 'version' : 'run';
}
