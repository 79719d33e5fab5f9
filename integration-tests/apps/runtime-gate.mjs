// SPDX-License-Identifier: Apache-2.0
// A program of usher/runtime that decides who gets something: as an authorizer of FastCGI in each phase of
// Apache, and as a responder for nginx. Its options of serve() come from RUNTIME_OPTIONS, as JSON.

import { metadataOf, serve } from '../../dist/runtime/index.js';

const passwords = new Map([
  ['ada', 'lovelace'],
  ['bob', 'builder'],
]);

/** Of Apache's authenticator, which has taken the field apart, or of the field. */
function credentials(req, { remoteUser, variables }) {
  const password = variables.get('REMOTE_PASSWD');
  if (password !== undefined) return [remoteUser, password];
  const [, coded = ''] = /^Basic (.+)$/.exec(req.headers.authorization ?? '') ?? [];
  return coded === '' ? null : Buffer.from(coded, 'base64').toString().split(':');
}

function deny(res, status, text, fields = {}) {
  res.writeHead(status, { 'Content-Type': 'text/plain', 'X-Denied-By': 'gate', ...fields });
  res.end(text);
}

function isKnown(req, res, metadata) {
  const [user, password] = credentials(req, metadata) ?? [];
  if (user !== undefined && passwords.get(user) === password) return true;
  const realm = { 'WWW-Authenticate': 'Basic realm="gate"' };
  deny(res, 401, user === undefined ? 'who are you?\n' : `no such user: ${user}\n`, realm);
  return false;
}

function gate(req, res) {
  const metadata = metadataOf(req);
  const phase = metadata.variables.get('FCGI_APACHE_ROLE') ?? 'ALL';
  const asks = (name) => phase === name || phase === 'ALL';
  if (asks('ACCESS_CHECKER') && req.headers['x-door'] === 'closed') {
    deny(res, 403, 'the door is closed\n');
    return;
  }
  if (asks('AUTHENTICATOR') && !isKnown(req, res, metadata)) return;
  const user = metadata.remoteUser ?? credentials(req, metadata)?.[0];
  if (asks('AUTHORIZER') && user === 'bob') {
    deny(res, 403, 'not for bob\n');
    return;
  }
  res.setHeader('Variable-TENANT', `${user ?? 'nobody'}, says the ${metadata.role}`);
  res.end('not to be seen');
}

await serve(gate, JSON.parse(process.env.RUNTIME_OPTIONS ?? '{}'));
