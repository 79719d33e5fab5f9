// SPDX-License-Identifier: Apache-2.0
// A request in the words of AJP 1.2: header fields as they are, and variables as CGI has them for what
// 1.3 has attributes for.
import type { Ajp12Request, Field } from '../../../protocols/ajp12/types.ts';
import type { ForwardRequest, RequestAttributes } from '../../../protocols/ajp13/types.ts';
import type { NamedServlet } from './zones.ts';

/** Where no zone has the path, all of `named` is null, as with mod_jk: the engine takes the uri apart. */
export function ajp12Request(
  request: ForwardRequest,
  named: NamedServlet,
  engineHost: string,
  serverSoftware: string,
): Ajp12Request {
  const { method, protocol, uri, remoteAddr, remoteHost, serverName, serverPort } = request;
  const { remoteUser = '', authType = '', queryString = '', route = '' } = request.attributes;
  return {
    method,
    requestUri: uri,
    queryString,
    serverProtocol: protocol,
    ...{ remoteAddr, remoteHost: remoteHost ?? '', remoteUser, authType, serverName, serverPort },
    ...{ engineHost, serverSoftware, route },
    ...named,
    ...{ documentRoot: '', pathTranslated: '', scriptFilename: '', serverSignature: '' },
    environment: environment(request.isSsl, request.attributes),
    fields: request.fields,
  };
}

const NAMES: Readonly<Record<string, string>> = {
  AJP_REMOTE_PORT: 'REMOTE_PORT',
  AJP_LOCAL_ADDR: 'SERVER_ADDR',
  AJP_SSL_PROTOCOL: 'SSL_PROTOCOL',
};

/** Without the client's certificate: a variable is one line. */
function environment(isSsl: boolean, attributes: RequestAttributes): Field[] {
  const { sslCipher, sslKeySize, sslSession, others = [] } = attributes;
  const variables: Field[] = isSsl ? [['HTTPS', 'on']] : [];
  if (sslCipher !== undefined) variables.push(['SSL_CIPHER', sslCipher]);
  if (sslKeySize !== undefined) variables.push(['SSL_CIPHER_USEKEYSIZE', String(sslKeySize)]);
  if (sslSession !== undefined) variables.push(['SSL_SESSION_ID', sslSession]);
  for (const [name, value] of others) variables.push([NAMES[name] ?? name, value]);
  return variables;
}
