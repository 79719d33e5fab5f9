// SPDX-License-Identifier: Apache-2.0
// Heads of requests and answers as texts. Of metadata that is made of CGI variables only these are told, and
// read when somebody asks; other connections' metadata is told whole.
import { decodeParams, encodePairs, Params } from '../../protocols/fastcgi/index.ts';
import { VariablesMetadata } from '../connections/variables-metadata.ts';
import type { FieldList, RequestHead } from '../exchange.ts';
import type { ProtocolName, RequestMetadata, TlsMetadata } from '../metadata.ts';
import { joinTexts, type TextReader } from './texts.ts';

type Texts = (string | null)[];

// ---- answers

export interface AnswerHead {
  status: number;
  reason: string;
  fields: FieldList;
}

export function answerText({ status, reason, fields }: AnswerHead): string {
  return joinTexts([`${status}`, reason, `${fields.length}`, ...fields]);
}

export function readAnswer(reader: TextReader): AnswerHead {
  const status = reader.number();
  const reason = reader.text();
  return { status, reason, fields: reader.list(reader.number()) };
}

// ---- requests

export function requestText(head: RequestHead): string {
  const { method, url, httpVersion, fields, bodyBytes, metadata } = head;
  const texts: Texts = [method, url, httpVersion, textOf(bodyBytes), `${fields.length}`, ...fields];
  texts.push(metadata.protocol, metadata.role);
  if (metadata instanceof VariablesMetadata) texts.push(BY_VARIABLES, encoded(metadata.told));
  else addAll(texts, metadata);
  return joinTexts(texts);
}

export function readRequest(reader: TextReader): RequestHead {
  const method = reader.text();
  const url = reader.text();
  const httpVersion = reader.text();
  const bodyBytes = numberOf(reader.next());
  const fields = reader.list(reader.number());
  return { method, url, httpVersion, fields, bodyBytes, metadata: readMetadata(reader) };
}

const BY_VARIABLES = 'variables';
const WHOLE = 'whole';

function readMetadata(reader: TextReader): RequestMetadata {
  const protocol = reader.text() as ProtocolName;
  const role = reader.text() as RequestMetadata['role'];
  if (reader.text() === WHOLE) return readAll(protocol, role, reader);
  const variables = reader.text();
  return new VariablesMetadata(protocol, role, () =>
    decodeParams(Buffer.from(variables, 'latin1')),
  );
}

/** As FastCGI has them, which is how most have come. */
function encoded(variables: ReadonlyMap<string, string>): string {
  if (variables instanceof Params) return variables.encoded;
  return encodePairs(variables).toString('latin1');
}

function readVariables(reader: TextReader): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  while (!reader.isAtEnd) variables.set(reader.text(), reader.text());
  return variables;
}

/** As readAll() reads them. */
function addAll(texts: Texts, metadata: RequestMetadata): void {
  texts.push(
    WHOLE,
    metadata.remoteUser,
    metadata.authType,
    metadata.remoteAddress,
    textOf(metadata.remotePort),
    metadata.remoteHost,
    metadata.localAddress,
    metadata.serverName,
    textOf(metadata.serverPort),
    metadata.serverSoftware,
    metadata.isSecure ? 'secure' : null,
    ...textsOfTls(metadata.tls),
    metadata.scriptName,
    metadata.pathInfo,
    metadata.pathTranslated,
    metadata.scriptFilename,
    metadata.documentRoot,
    metadata.route,
    metadata.zone,
    metadata.servlet,
  );
  for (const [name, value] of metadata.variables) texts.push(name, value);
}

function readAll(
  protocol: ProtocolName,
  role: RequestMetadata['role'],
  reader: TextReader,
): RequestMetadata {
  return {
    protocol,
    role,
    remoteUser: reader.next(),
    authType: reader.next(),
    remoteAddress: reader.text(),
    remotePort: numberOf(reader.next()),
    remoteHost: reader.next(),
    localAddress: reader.next(),
    serverName: reader.text(),
    serverPort: reader.number(),
    serverSoftware: reader.next(),
    isSecure: reader.next() !== null,
    tls: reader.next() === null ? null : readTls(reader),
    scriptName: reader.text(),
    pathInfo: reader.text(),
    pathTranslated: reader.next(),
    scriptFilename: reader.next(),
    documentRoot: reader.next(),
    route: reader.next(),
    zone: reader.next(),
    servlet: reader.next(),
    variables: readVariables(reader),
  };
}

function textsOfTls(tls: TlsMetadata | null): Texts {
  if (tls === null) return [null];
  const { protocol, cipher, sessionId, keyBits, clientCertificate } = tls;
  return ['tls', protocol, cipher, sessionId, textOf(keyBits), clientCertificate];
}

function readTls(reader: TextReader): TlsMetadata {
  return {
    protocol: reader.next(),
    cipher: reader.next(),
    sessionId: reader.next(),
    keyBits: numberOf(reader.next()),
    clientCertificate: reader.next(),
  };
}

function textOf(number: number | null): string | null {
  return number === null ? null : `${number}`;
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}
