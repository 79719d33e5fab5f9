// SPDX-License-Identifier: Apache-2.0
// Tomcat 10 as Debian ships it, with apps/tomcat as its only application, in a directory of its own: an
// AJP connector at a port that the system chooses, or at a UNIX socket.

import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { Test } from 'tap';
import { apps } from './checkout.ts';
import { eventually } from './eventually.ts';

const home = '/usr/share/tomcat10';
/** A virtual machine and the first translation of a page, on a machine that is busy. */
const startWithinMs = 120_000;

export interface TomcatOptions {
  /** Of its AJP connector; undefined: secretRequired="false". */
  secret?: string;
  packetBytes?: number;
  /** jvmRoute. */
  route?: string;
  /** Of the application; '' is the root. */
  context?: string;
  /** The same application once more at each of these; requests() tells them apart. */
  otherContexts?: string[];
  /** A UNIX socket in its directory, not a port. */
  isUnix?: boolean;
  /** Further attributes of the connector. */
  connector?: Record<string, string>;
  /** Stays at this port over a restart. */
  port?: number;
}

function attributes(values: Record<string, string>): string {
  return Object.entries(values)
    .map(
      ([name, value]) => ` ${name}="${value.replaceAll('&', '&amp;').replaceAll('"', '&quot;')}"`,
    )
    .join('');
}

interface ServerOptions extends Omit<TomcatOptions, 'port'> {
  port?: number | string;
}

function serverXml(options: ServerOptions, path: string): string {
  const { secret, packetBytes = 8192, route, context = '', isUnix, connector, port = 0 } = options;
  const ajp = attributes({
    protocol: 'AJP/1.3',
    ...(isUnix ? { unixDomainSocketPath: path } : { address: '127.0.0.1', port: String(port) }),
    ...(secret === undefined ? { secretRequired: 'false' } : { secret }),
    packetSize: String(packetBytes),
    ...connector,
  });
  const engine = attributes({
    name: 'Catalina',
    defaultHost: 'localhost',
    ...(route === undefined ? {} : { jvmRoute: route }),
  });
  const { otherContexts = [] } = options;
  const applications = [context, ...otherContexts].map((path) => {
    const log = attributes({
      className: 'org.apache.catalina.valves.AccessLogValve',
      directory: 'logs',
      prefix: `requests${path.replaceAll('/', '-')}`,
      suffix: '',
      rotatable: 'false',
      buffered: 'false',
      pattern: '%r',
    });
    return `<Context${attributes({ path, docBase: `${apps}/tomcat` })}><Valve${log}/></Context>`;
  });
  return `<Server port="-1">
  <Service name="Catalina">
    <Connector${ajp}/>
    <Engine${engine}>
      <Host name="localhost" appBase="webapps" autoDeploy="false">${applications.join('')}</Host>
    </Engine>
  </Service>
</Server>
`;
}

/** Only what pages and files need. */
const webXml = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet>
    <servlet-name>default</servlet-name>
    <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
  </servlet>
  <servlet>
    <servlet-name>jsp</servlet-name>
    <servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class>
    <init-param><param-name>trimSpaces</param-name><param-value>true</param-value></init-param>
  </servlet>
  <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>
`;

const loggingProperties = `handlers = java.util.logging.ConsoleHandler
.level = INFO
java.util.logging.ConsoleHandler.level = FINE
`;

/** What java is given. @param conf Where logging.properties is. */
function javaArguments(base: string, conf: string): string[] {
  return [
    ...['-Xms32m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'],
    ...['-cp', `${home}/bin/bootstrap.jar:${home}/bin/tomcat-juli.jar`],
    '-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager',
    `-Djava.util.logging.config.file=${conf}/logging.properties`,
    `-Dcatalina.home=${home}`,
    `-Dcatalina.base=${base}`,
    `-Djava.io.tmpdir=${base}/temp`,
    'org.apache.catalina.startup.Bootstrap',
    'start',
  ];
}

/**
 * The program of a class that starts its Tomcats itself: each listens where USHER_PORT says, has
 * USHER_ROUTE for its route, and keeps its files below `dir`, in a directory named after its port.
 */
export function tomcatProgram(dir: string, options: ServerOptions = {}): string {
  const conf = `${dir}/conf`;
  mkdirSync(conf, { recursive: true });
  chmodSync(dir, 0o777);
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: Tomcat puts the environment there
  const given = { ...options, port: '${USHER_PORT}', route: '${USHER_ROUTE}' };
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: end
  writeFileSync(`${conf}/server.xml`, serverXml(given, ''));
  writeFileSync(`${conf}/web.xml`, webXml);
  writeFileSync(`${conf}/logging.properties`, loggingProperties);
  const environment =
    '-Dorg.apache.tomcat.util.digester.PROPERTY_SOURCE=org.apache.tomcat.util.digester.EnvironmentPropertySource';
  writeFileSync(
    `${dir}/tomcat`,
    `#!/bin/sh
base=${dir}/$USHER_PORT
mkdir -p $base/temp $base/work $base/logs $base/webapps
cp -r ${conf} $base
exec java ${environment} ${javaArguments('$base', conf).join(' ')}
`,
    { mode: 0o755 },
  );
  return `${dir}/tomcat`;
}

export class Tomcat {
  readonly dir: string;
  readonly #options: TomcatOptions;
  #process: ChildProcess | undefined;
  #port = 0;
  #starts = 0;

  private constructor(options: TomcatOptions) {
    this.#options = options;
    this.dir = mkdtempSync('/tmp/usher-tomcat-');
  }

  /** Ends, with all its files, when the test does. */
  static async start(t: Pick<Test, 'teardown'>, options: TomcatOptions = {}): Promise<Tomcat> {
    const tomcat = new Tomcat(options);
    t.teardown(async () => {
      await tomcat.stop('SIGKILL');
      rmSync(tomcat.dir, { recursive: true });
    });
    await tomcat.start();
    return tomcat;
  }

  /** As -host gives it. */
  get address(): string {
    return this.#options.isUnix ? `unix:${this.#socket}` : `127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** All that it has written. */
  get log(): string {
    return readFileSync(this.#logFile, 'utf8');
  }

  /** The request lines, as they came, that the application at this context has got. */
  requests(context: string): string[] {
    const file = `${this.dir}/logs/requests${context.replaceAll('/', '-')}`;
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  }

  /** Again after stop(), at the same address. */
  async start(): Promise<void> {
    for (const name of ['conf', 'temp', 'webapps', 'work', 'logs']) {
      mkdirSync(`${this.dir}/${name}`, { recursive: true });
    }
    const options = this.#port === 0 ? this.#options : { ...this.#options, port: this.#port };
    writeFileSync(`${this.dir}/conf/server.xml`, serverXml(options, this.#socket), { mode: 0o600 });
    writeFileSync(`${this.dir}/conf/web.xml`, webXml);
    writeFileSync(`${this.dir}/conf/logging.properties`, loggingProperties);
    this.#starts++;
    const output = openSync(this.#logFile, 'w');
    this.#process = spawn('java', javaArguments(this.dir, `${this.dir}/conf`), {
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    const failed = new Promise<never>((_, reject) => this.#process?.once('error', reject));
    await Promise.race([
      eventually('Tomcat to start', () => this.#hasStarted(), startWithinMs),
      failed,
    ]);
    const started = /Starting ProtocolHandler \["ajp-nio-[^"]*-(\d+)"/.exec(this.log);
    this.#port = Number(started?.[1] ?? this.#port);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await ended;
    clearTimeout(late);
  }

  get #socket(): string {
    return `${this.dir}/ajp.socket`;
  }

  get #logFile(): string {
    return `${this.dir}/logs/${this.#starts}.log`;
  }

  #hasStarted(): boolean {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`Tomcat has ended:\n${this.log.slice(-4000)}`);
    }
    return this.log.includes('Server startup in');
  }
}
