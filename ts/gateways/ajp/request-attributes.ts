// SPDX-License-Identifier: Apache-2.0
// Attributes of a request: what the web server knows that is in no header field.
import type { Field, RequestAttributes } from '../../protocols/ajp13/types.ts';

type Params = ReadonlyMap<string, string>;

/**
 * Those that depend on the backend, route and JK_LB_ACTIVATION, and the secret are added per try.
 *
 * @param names Parameters that the servlet gets under the same name.
 */
export function requestAttributes(params: Params, names: readonly string[]): RequestAttributes {
  const attributes: RequestAttributes = {};
  const user = params.get('REMOTE_USER');
  if (user) attributes.remoteUser = user;
  const authType = params.get('AUTH_TYPE');
  if (authType) attributes.authType = authType;
  const query = params.get('QUERY_STRING');
  if (query) attributes.queryString = query;

  const others: Field[] = [];
  if (isSsl(params)) addSsl(params, attributes, others);
  const remotePort = params.get('REMOTE_PORT');
  if (remotePort) others.push(['AJP_REMOTE_PORT', remotePort]);
  const localAddress = params.get('SERVER_ADDR');
  if (localAddress) others.push(['AJP_LOCAL_ADDR', localAddress]);
  for (const name of names) {
    const value = params.get(name);
    if (value) others.push([name, value]);
  }
  attributes.others = others;
  return attributes;
}

export function isSsl(params: Params): boolean {
  const https = params.get('HTTPS');
  return https !== undefined && /^(on|1)$/i.test(https);
}

function addSsl(params: Params, attributes: RequestAttributes, others: Field[]): void {
  const cert = params.get('SSL_CLIENT_CERT');
  if (cert) attributes.sslCert = certificates(cert, params);
  const cipher = params.get('SSL_CIPHER');
  if (cipher) attributes.sslCipher = cipher;
  const session = params.get('SSL_SESSION_ID');
  if (session) attributes.sslSession = session;
  const bits = Number(params.get('SSL_CIPHER_USEKEYSIZE') || Number.NaN);
  if (Number.isInteger(bits) && bits > 0 && bits <= 65535) attributes.sslKeySize = bits;
  const protocol = params.get('SSL_PROTOCOL');
  if (protocol) others.push(['AJP_SSL_PROTOCOL', protocol]);
}

/** The client's, then those of its chain, as PEM. */
function certificates(own: string, params: Params): string {
  let text = pem(own);
  for (let i = 0; ; i++) {
    const next = params.get(`SSL_CLIENT_CERT_CHAIN_${i}`);
    if (!next) return text;
    text += pem(next);
  }
}

/** nginx gives PEM as it is, with tabs before its lines, or escaped, by the variable it is taken from. */
function pem(text: string): string {
  const lines = text.startsWith('-----BEGIN%20') ? unescaped(text) : text;
  const plain = lines.replace(/\r?\n[\t ]*/g, '\n');
  return plain.endsWith('\n') ? plain : `${plain}\n`;
}

function unescaped(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
