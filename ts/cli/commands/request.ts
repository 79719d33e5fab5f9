// SPDX-License-Identifier: Apache-2.0
// usher request: acts as a web server against one instance of a class, or one host behind it.
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ClassStatus, Lent } from '../../control/messages.ts';
import { askAjp, forwardRequest } from '../ask/ajp.ts';
import { askFastCgi, paramsOf } from '../ask/fastcgi.ts';
import { type Answer, NoAnswerError, type Question } from '../ask/question.ts';
import { type Context, UsageError } from '../context.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from '../options.ts';
import { type Paint, paintFor } from '../paint.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable, showBytes, showDuration } from '../units.ts';

interface RequestOptions extends ManagerOptions {
  method?: string;
  data?: string;
  header: [string, string][];
  param: [string, string][];
  secretFile?: string;
  gateway?: true;
  /** Seconds. */
  timeout: number;
}

/** Whom we speak to, and how. */
interface Target {
  protocol: 'fastcgi' | 'ajp';
  /** For people. */
  name: string;
  path: string | null;
  host: string;
  port: number;
}

export function addRequest(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('request'))
    .argument('<class>', 'name or path as configured')
    .argument('<uri>', 'path, and a query behind a question mark')
    .summary('ask one instance of a class, as a web server does')
    .description(
      'Speaks FastCGI to one instance, which the manager lends and starts if there is none. An instance that ' +
        'takes one request at a time is kept from the web servers until the answer is there; nothing is ' +
        'counted. A class of protocol ajp: AJP to its first host that is up (--gateway: FastCGI to its ' +
        'gateway). The body is written to standard output, all else to standard error.',
    )
    .option('-X, --method <method>', 'GET, or POST with -d')
    .option('-d, --data <text>', 'body; @FILE: of that file, @-: of standard input')
    .option('-H, --header <line>', "'Name: value'; may be repeated", collectHeader, [])
    .option(
      '--param <pair>',
      'NAME=VALUE: a parameter or AJP attribute; repeatable',
      collectParam,
      [],
    )
    .option('--secret-file <file>', 'with the secret of an AJP backend')
    .option('--gateway', 'ask the gateway of a class of protocol ajp')
    .option(
      '--timeout <seconds>',
      'for an instance to be free, and for its answer',
      parseSeconds,
      30,
    )
    .action(async (name: string, uri: string, options: RequestOptions) => {
      if (!uri.startsWith('/')) throw new UsageError(`${uri}: expected a path that begins with /`);
      const client = connectTo(options, context);
      const { runtimeDir } = client;
      const status = await client.status();
      const known = status.classes.find((one) => one.name === name);
      const question = questionOf(uri, options);
      const host = known === undefined ? null : hostOf(known, options);
      if (host !== null) return ask(host, question, status.manager.version, options, context);
      const waitMs = Math.round(options.timeout * 1000);
      const lent = await client.lend({ class: name, waitMs });
      try {
        const asked = { ...question, program: lent.program };
        if (lent.instance.isReserved && !options.json) {
          context.err(`* pid ${lent.instance.pid} serves this request only, until its end\n`);
        }
        await ask(
          instanceTarget(lent, runtimeDir),
          asked,
          status.manager.version,
          options,
          context,
        );
      } finally {
        await client.giveBack({ id: lent.id });
      }
    });
  withExamples(command, [
    ['usher request php /index.php --param SCRIPT_FILENAME=/srv/www/index.php', 'a file of PHP'],
    ["usher request app /form -d a=1 -H 'Host: example.org'", 'a POST'],
    ['usher request tomcat /shop/ --json', 'over AJP, as JSON'],
  ]);
}

function questionOf(uri: string, options: RequestOptions): Question {
  const body = options.data === undefined ? Buffer.alloc(0) : bodyOf(options.data);
  const method = options.method ?? (options.data === undefined ? 'GET' : 'POST');
  const has = (wanted: string): boolean =>
    options.header.some(([name]) => name.toLowerCase() === wanted);
  const headers: [string, string][] = [
    ...(has('host') ? [] : ([['Host', '127.0.0.1']] as [string, string][])),
    ...options.header,
    ...(body.length === 0 || has('content-type')
      ? []
      : ([['Content-Type', 'application/x-www-form-urlencoded']] as [string, string][])),
  ];
  return { method, uri, headers, body, params: options.param, program: '' };
}

function bodyOf(data: string): Buffer {
  if (!data.startsWith('@')) return Buffer.from(data);
  return readFileSync(data === '@-' ? 0 : data.slice(1));
}

/** A host that is there without us; null = an instance is to be lent. */
function hostOf(
  { kind, name, protocol, backends }: ClassStatus,
  { gateway }: RequestOptions,
): Target | null {
  const isAjp = protocol === 'ajp' && gateway === undefined;
  if (kind !== 'external' && !isAjp) return null;
  const backend = backends.find(({ state }) => state === 'up');
  if (backend === undefined) {
    throw new NoAnswerError(`none of the hosts of class "${name}" is up: see usher status`);
  }
  return { protocol: isAjp ? 'ajp' : 'fastcgi', ...addressOf(backend.address) };
}

function instanceTarget({ instance, listen, class: name }: Lent, runtimeDir: string): Target {
  const path = join(runtimeDir, 'sockets', instance.socket);
  const address = listen === null ? { path, host: '', port: 0 } : addressOf(listen);
  const place = listen ?? path;
  return { protocol: 'fastcgi', ...address, name: `${name}, pid ${instance.pid}, ${place}` };
}

/** unix:/PATH, /PATH, tcp:PORT, HOST:PORT, [IPv6]:PORT. */
function addressOf(text: string): Omit<Target, 'protocol'> {
  const path = text.replace(/^unix:/, '');
  if (path.startsWith('/')) return { name: text, path, host: '', port: 0 };
  const [, host = '', port = ''] = /^(?:tcp:)?(?:(.*):)?(\d+)$/.exec(text) ?? [];
  const bare = host.replace(/^\[|\]$/g, '');
  const anywhere = ['', '0.0.0.0', '*'].includes(bare) ? '127.0.0.1' : bare;
  return { name: text, path: null, host: anywhere === '::' ? '::1' : anywhere, port: Number(port) };
}

async function ask(
  target: Target,
  question: Question,
  version: string,
  options: RequestOptions,
  context: Context,
): Promise<void> {
  const timeoutMs = options.timeout * 1000;
  const socket = new Socket();
  const params = paramsOf(question, version);
  const secret = options.secretFile === undefined ? null : readSecret(options.secretFile);
  const request = forwardRequest(question, secret);
  const sent = target.protocol === 'ajp' ? [...request.fields, ...question.params] : params;
  if (!options.json) showQuestion(target, question, sent, context);
  const asked =
    target.protocol === 'ajp'
      ? askAjp(socket, request, question.body, timeoutMs)
      : askFastCgi(socket, params, question.body, timeoutMs);
  if (target.path === null) socket.connect(target.port, target.host);
  else socket.connect(target.path);
  const answer = await asked;
  if (options.json) showJson(target, sent, answer, context);
  else showAnswer(answer, paintFor(context), context);
}

function readSecret(file: string): string {
  return readFileSync(file, 'utf8').trimEnd();
}

/** What may hold a password is not shown. */
function masked([name, value]: readonly [string, string]): [string, string] {
  return /AUTHORIZATION|COOKIE|SECRET|PASSW|TOKEN|API_?KEY/i.test(name)
    ? [name, '***']
    : [name, value];
}

function showQuestion(
  { name, protocol }: Target,
  { method, uri, body }: Question,
  sent: readonly (readonly [string, string])[],
  context: Context,
): void {
  const what = `${method} ${uri}${body.length > 0 ? `, body of ${showBytes(body.length)}` : ''}`;
  context.err(`* ${printable(what)} over ${protocol} to ${printable(name)}\n`);
  for (const [key, value] of sent.map(masked)) {
    context.err(`> ${printable(`${key}${protocol === 'ajp' ? ': ' : '='}${value}`)}\n`);
  }
}

function showAnswer(answer: Answer, paint: Paint, context: Context): void {
  const { status, headers, body, errors, connectedMs, firstByteMs, endMs, appStatus } = answer;
  const colour = status >= 200 && status < 400 ? 'green' : 'red';
  const text = status === 0 ? 'no header: what follows is all that it wrote' : String(status);
  context.err(`< ${paint(colour, text)}\n`);
  for (const [name, value] of headers) context.err(`< ${printable(`${name}: ${value}`)}\n`);
  for (const line of errors.split('\n').filter((one) => one !== '')) {
    context.err(`! ${printable(line)}\n`);
  }
  // A terminal is not told what a program says; a file or pipe gets it byte by byte.
  if (context.terminal === null) context.out(body);
  else context.out(body.toString('utf8').split('\n').map(printable).join('\n'));
  if (context.terminal !== null && body.length > 0 && body.at(-1) !== 10) context.out('\n');
  const times = [
    `connected ${showDuration(connectedMs ?? 0)}`,
    ...(firstByteMs === null ? [] : [`first byte ${showDuration(firstByteMs)}`]),
    `end ${showDuration(endMs)}`,
  ];
  const exit = appStatus === null || appStatus === 0 ? '' : `, application status ${appStatus}`;
  context.err(`* ${times.join(', ')}; body of ${showBytes(body.length)}${exit}\n`);
}

function showJson(
  { name, protocol }: Target,
  sent: readonly (readonly [string, string])[],
  { body, ...answer }: Answer,
  context: Context,
): void {
  const text = body.toString('utf8');
  const isText = Buffer.from(text).equals(body);
  const shown = {
    ...{ to: name, protocol, sent: sent.map(masked) },
    ...answer,
    ...(isText ? { body: text } : { bodyBase64: body.toString('base64') }),
  };
  context.out(`${JSON.stringify(shown, null, 2)}\n`);
}

function collectHeader(line: string, former: [string, string][]): [string, string][] {
  const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*)$/.exec(line) ?? [];
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError("expected 'Name: value'.");
  }
  return [...former, [name, value]];
}

function collectParam(pair: string, former: [string, string][]): [string, string][] {
  const at = pair.indexOf('=');
  if (at > 0) return [...former, [pair.slice(0, at), pair.slice(at + 1)]];
  throw new InvalidArgumentError('expected NAME=VALUE.');
}
