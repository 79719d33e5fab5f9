// SPDX-License-Identifier: Apache-2.0
// What to do about each cause, for people.
import type { Journey, JourneyCause } from '../control/messages.ts';

type Told = Pick<Journey, 'setting'>;
type Hint = (journey: Told) => string;

const say =
  (text: string): Hint =>
  () =>
    text;

const hints: Readonly<Record<JourneyCause, Hint>> = {
  'file-missing': say(
    'Check the path in the configuration. A -command without a slash is looked for in /usr/local/bin, /usr/bin and /bin only.',
  ),
  'is-directory': say('Name the program itself, not the directory that it stands in.'),
  'not-executable': say(
    'Make it executable for the user that it runs as: chmod a+x FILE. On a file system mounted noexec nothing is: move it, or start its interpreter with -command.',
  ),
  'path-denied': (journey) =>
    `Let ${userOf(journey)} pass that directory (chmod o+x DIRECTORY, or chgrp and chmod g+x), or run the class as another -user.`,
  'interpreter-missing': say(
    'Install the interpreter, or correct the first line of the script: #! and the absolute path of what is to run it.',
  ),
  'interpreter-crlf': say(
    'The script has line ends of Windows. Remove them: sed -i "s/\\r$//" FILE, or dos2unix FILE.',
  ),
  'no-program': say(
    'A script begins with #! and the path of its interpreter, without anything before it; or start the interpreter with -command "INTERPRETER FILE".',
  ),
  'library-missing': say(
    'Install what the program was linked with (ldd PROGRAM lists it), or name the directory by -initial-env LD_LIBRARY_PATH=DIRECTORY. A missing GLIBC version: it was built on a newer system.',
  ),
  'wrong-architecture': say(
    'Build or install the program for this machine (file PROGRAM says what it is for).',
  ),
  'user-unknown': say('Create the user or group, or correct -user and -group (names, or #NUMBER).'),
  'user-denied': say(
    'Only a manager that runs as root can start programs as somebody else: start the web server or usher.service as root, or leave -user and -group out.',
  ),
  'not-allowed': say(
    'Only what a web server registered, as root, is started. Reload the web server; for a dynamic class correct owner and mode as the message says (or -path-check roots).',
  ),
  'cwd-missing': say('Create the directory, or correct -cwd.'),
  'cwd-denied': (journey) =>
    `Let ${userOf(journey)} enter the directory (chmod o+x), or correct -cwd.`,
  'limit-denied': say(
    'The manager itself has a lower limit (systemd: LimitNOFILE= … in its unit; container: --ulimit). Raise that one, or ask for less with -limit.',
  ),
  'limit-too-low': (journey) => `Raise the limit that it met${listOf(journey)}: -limit NAME=N.`,
  'address-in-use': say(
    'Another process listens there: find it (ss -ltnxp) and stop it, or choose another address. A FastCGI program gets its socket as descriptor 0 and must not bind one itself.',
  ),
  'cgi-program': say(
    'It printed the answer to one request and ended, as CGI programs do: say -protocol cgi (usher_pass … protocol=cgi), or serve it as FastCGI.',
  ),
  'exited-at-once': say(
    'A FastCGI program accepts connections on descriptor 0 and stays. Does this one go into the background (it must stay in the foreground), or is it a CGI program (-protocol cgi)?',
  ),
  'exited-with-error': say(
    'Its output says why. To see more, run its command by hand, as its user, in its directory and with its environment.',
  ),
  'killed-by-signal': say(
    'It crashed, or somebody killed it. -limit core=unlimited keeps a core dump (see coredumpctl, or its working directory).',
  ),
  'out-of-memory': say(
    'Give the service or container more memory (systemd: MemoryMax=), run fewer instances (-maxClassProcesses), or replace large ones in time (-memory-limit). An interpreter may have a limit of its own (memory_limit, --max-old-space-size, -Xmx).',
  ),
  'not-ready-in-time': say(
    'It does not accept connections on descriptor 0. Does it need longer (-start-timeout), wait for something (a database, a lock), or is it no FastCGI program (-protocol cgi)?',
  ),
  hung: say(
    'A request took longer than -request-timeout: raise that, or find what it waited for in the snapshot of its threads.',
  ),
  'engine-failed': say('See the output of the servlet engine, and its own logs.'),
  other: say(''),
};

export function hintOf(cause: JourneyCause, journey: Told): string {
  return hints[cause](journey);
}

function userOf({ setting }: Told): string {
  return setting === null ? 'its user' : `user ${setting.user}`;
}

function listOf({ setting }: Told): string {
  const limits = setting?.limits ?? [];
  return limits.length === 0 ? '' : ` (it has ${limits.join(', ')})`;
}
