// SPDX-License-Identifier: Apache-2.0
// What the web server's side sends: FORWARD_REQUEST, data packets, CPING.
import { ProtocolError } from '../protocol-error.ts';
import {
  ATTRIBUTE,
  FORWARD_REQUEST,
  headerCodes,
  MAGIC_CLIENT,
  METHOD_CODES,
  METHOD_STORED,
  REQUEST_HEADERS,
} from './codes.ts';
import { checkPacketBytes } from './packets.ts';
import { LINE, LINES, TOKEN } from './text.ts';
import { type ForwardRequest, PACKET_BYTES, type RequestAttributes } from './types.ts';
import { MessageWriter } from './writer.ts';

export const CPING = Buffer.from('123400010a', 'hex');

/** The data packet that says that there is no more. */
export const BODY_END = Buffer.from('123400020000', 'hex');

const DATA_HEAD_BYTES = 6;

const codes = headerCodes(REQUEST_HEADERS);

/** What can go in one data packet. */
export function bodyBytesMax(packetBytes: number): number {
  return packetBytes - DATA_HEAD_BYTES;
}

/** What goes before the bytes in a data packet. Throws a RangeError for more than bodyBytesMax(65536). */
export function dataHead(length: number): Buffer {
  if (length > 0xfffa) throw new RangeError(`AJP: ${length} bytes do not fit a data packet`);
  const head = Buffer.allocUnsafe(DATA_HEAD_BYTES);
  head.writeUInt16BE(MAGIC_CLIENT, 0);
  head.writeUInt16BE(length + 2, 2);
  head.writeUInt16BE(length, 4);
  return head;
}

/** One data packet, its head and the bytes themselves. Throws as dataHead(). */
export function encodeBody(bytes: Buffer): Buffer[] {
  return bytes.length === 0 ? [BODY_END] : [dataHead(bytes.length), bytes];
}

/**
 * One packet. Throws ProtocolError: 431 when the request does not fit it, 400 for bytes that may not be
 * sent and for Transfer-Encoding. What the uri may be is the caller's to decide, but for control
 * characters.
 */
export function encodeForwardRequest(
  request: ForwardRequest,
  packetBytes: number = PACKET_BYTES,
): Buffer {
  const { method, fields, attributes } = request;
  const most = bytesMax(request);
  const size = checkPacketBytes(packetBytes);
  const status = { tooLong: 431, forbidden: 400 };
  const writer = new MessageWriter('the request head', most, size, status);
  const methodCode = METHOD_CODES.get(method);
  writer.byte(FORWARD_REQUEST);
  writer.byte(methodCode ?? METHOD_STORED);
  writer.string(request.protocol, LINE, 'protocol');
  writer.string(request.uri, LINE, 'uri');
  writer.string(request.remoteAddr, LINE, 'remote address');
  writer.string(request.remoteHost, LINE, 'remote host');
  writer.string(request.serverName, LINE, 'server name');
  writer.checkedUint16(request.serverPort, 'server port');
  writer.byte(request.isSsl ? 1 : 0);
  writer.checkedUint16(fields.length, 'number of headers');
  for (const [name, value] of fields) {
    // Containers that believe it wait for a body that comes otherwise (CVE-2022-26377).
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      throw new ProtocolError('AJP: Transfer-Encoding may not be sent', 400);
    }
    writer.name(name, codes, TOKEN);
    writer.string(value, LINE, name);
  }
  writeAttributes(writer, attributes, methodCode === undefined ? method : null);
  return writer.finish(MAGIC_CLIENT);
}

/** In mod_jk's order: nobody can have grown to rely on another one. */
function writeAttributes(
  writer: MessageWriter,
  attributes: RequestAttributes,
  storedMethod: string | null,
): void {
  const line = (code: number, text: string | undefined, what: string): void => {
    if (text === undefined) return;
    writer.byte(code);
    writer.string(text, LINE, what);
  };
  line(ATTRIBUTE.secret, attributes.secret, 'secret');
  line(ATTRIBUTE.context, attributes.context, 'context');
  line(ATTRIBUTE.servletPath, attributes.servletPath, 'servlet path');
  line(ATTRIBUTE.remoteUser, attributes.remoteUser, 'remote user');
  line(ATTRIBUTE.authType, attributes.authType, 'auth type');
  line(ATTRIBUTE.queryString, attributes.queryString, 'query string');
  line(ATTRIBUTE.route, attributes.route, 'route');
  if (attributes.sslCert !== undefined) {
    writer.byte(ATTRIBUTE.sslCert);
    writer.string(attributes.sslCert, LINES, 'client certificate');
  }
  line(ATTRIBUTE.sslCipher, attributes.sslCipher, 'cipher');
  line(ATTRIBUTE.sslSession, attributes.sslSession, 'TLS session');
  if (attributes.sslKeySize !== undefined) {
    writer.byte(ATTRIBUTE.sslKeySize);
    writer.checkedUint16(attributes.sslKeySize, 'key size');
  }
  if (storedMethod !== null) {
    if (storedMethod === '') throw new ProtocolError('AJP: the method is empty', 400);
    writer.byte(ATTRIBUTE.storedMethod);
    writer.string(storedMethod, TOKEN, 'method');
  }
  for (const [name, value] of attributes.others ?? []) {
    writer.byte(ATTRIBUTE.other);
    writer.string(name, LINE, 'attribute name');
    writer.string(value, LINES, name);
  }
  writer.byte(ATTRIBUTE.end);
}

/** Codes and lengths that are not there in the end are counted too. */
function bytesMax(request: ForwardRequest): number {
  const { attributes } = request;
  let bytes = 96 + request.method.length + request.protocol.length + request.uri.length;
  bytes += request.remoteAddr.length + (request.remoteHost?.length ?? 0);
  bytes += request.serverName.length;
  for (const [name, value] of request.fields) bytes += name.length + value.length + 6;
  for (const [name, value] of attributes.others ?? []) bytes += name.length + value.length + 7;
  bytes += (attributes.secret?.length ?? 0) + (attributes.context?.length ?? 0);
  bytes += (attributes.servletPath?.length ?? 0) + (attributes.remoteUser?.length ?? 0);
  bytes += (attributes.authType?.length ?? 0) + (attributes.queryString?.length ?? 0);
  bytes += (attributes.route?.length ?? 0) + (attributes.sslCert?.length ?? 0);
  bytes += (attributes.sslCipher?.length ?? 0) + (attributes.sslSession?.length ?? 0);
  return bytes;
}
