// SPDX-License-Identifier: Apache-2.0
// One Tomcat, as Debian ships it, with a small application at two contexts, and a connector for each way
// to it: AJP with packets of 8 kB and of 64 kB, and HTTP.

import { copyFileSync, existsSync, mkdirSync, realpathSync } from 'node:fs';
import { root } from '../scripts/run.mjs';
import { found } from './machine.mjs';
import { eventually, freePort } from './site.mjs';

const home = '/usr/share/tomcat10';
const startWithinMs = 120_000;

export const packetSizes = { small: 8192, large: 65_536 };
/** What the application serves besides its pages, and how long it is. */
export const files = { '20k.txt': 20_480, '1m.bin': 1 << 20 };

function serverXml(dir, ports) {
  const ajp = ([name, size]) =>
    `<Connector protocol="AJP/1.3" address="127.0.0.1" port="${ports[name]}" packetSize="${size}"
      secretRequired="false"/>`;
  // The same at both: by its context a request says which packets it goes in.
  const context = (name) => `<Context path="/${name}" docBase="${dir}/app"/>`;
  const names = Object.keys(packetSizes);
  return `<Server port="-1">
  <Service name="Catalina">
    ${Object.entries(packetSizes).map(ajp).join('\n    ')}
    <Connector protocol="HTTP/1.1" address="127.0.0.1" port="${ports.http}" maxKeepAliveRequests="-1"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false">${names.map(context).join('')}</Host>
    </Engine>
  </Service>
</Server>
`;
}

const webXml = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet>
    <servlet-name>default</servlet-name>
    <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
  </servlet>
  <servlet>
    <servlet-name>jsp</servlet-name>
    <servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class>
    <init-param><param-name>development</param-name><param-value>false</param-value></init-param>
  </servlet>
  <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>
`;

function writeFiles(site, dir, ports) {
  for (const name of ['conf', 'temp', 'webapps', 'work', 'logs']) {
    mkdirSync(`${dir}/${name}`, { recursive: true });
  }
  site.write('tomcat/conf/server.xml', serverXml(dir, ports));
  site.write('tomcat/conf/web.xml', webXml);
  for (const [name, length] of Object.entries(files)) {
    site.write(`tomcat/app/${name}`, 'x'.repeat(length));
  }
  for (const page of ['hello.jsp', 'count.jsp']) {
    copyFileSync(`${root}/bench/tomcat/${page}`, `${dir}/app/${page}`);
  }
}

/** Its process id, and the ports of its connectors: small, large, http. */
export async function startTomcat(site, heapMb) {
  if (!existsSync(`${home}/bin/bootstrap.jar`)) {
    throw new Error('Tomcat is not installed: apt-get install tomcat10-common');
  }
  const java = realpathSync(found('java', 'default-jre-headless'));
  const dir = `${site.dir}/tomcat`;
  const ports = { small: await freePort(), large: await freePort(), http: await freePort() };
  writeFiles(site, dir, ports);
  const pid = site.start('tomcat', java, [
    ...[`-Xms${heapMb}m`, `-Xmx${heapMb}m`],
    ...['-cp', `${home}/bin/bootstrap.jar:${home}/bin/tomcat-juli.jar`],
    `-Dcatalina.home=${home}`,
    `-Dcatalina.base=${dir}`,
    `-Djava.io.tmpdir=${dir}/temp`,
    ...['org.apache.catalina.startup.Bootstrap', 'start'],
  ]);
  const hasStarted = () => site.said('tomcat').includes('Server startup in');
  await eventually('Tomcat has started', hasStarted, startWithinMs).catch((error) => {
    throw new Error(`${error.message}; it said: ${site.said('tomcat').slice(-4000)}`);
  });
  return { pid, ports };
}
