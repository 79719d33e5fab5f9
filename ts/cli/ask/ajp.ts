// SPDX-License-Identifier: Apache-2.0
// Asks a servlet engine over AJP 1.3, as a web server does.
import type { Socket } from 'node:net';
import { AjpClientDecoder } from '../../protocols/ajp13/client-decoder.ts';
import {
  BODY_END,
  bodyBytesMax,
  encodeBody,
  encodeForwardRequest,
} from '../../protocols/ajp13/client-encoder.ts';
import { type ForwardRequest, PACKET_BYTES } from '../../protocols/ajp13/types.ts';
import { type Answer, converse, NoAnswerError, type Question, stopwatch } from './question.ts';

export function forwardRequest(question: Question, secret: string | null): ForwardRequest {
  const { method, uri, headers, body, params } = question;
  const [path = '', ...rest] = uri.split('?');
  const host = headers.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? '127.0.0.1';
  const fields: [string, string][] = [
    ...headers.filter(([name]) => name.toLowerCase() !== 'content-length'),
    ...(body.length > 0 ? ([['content-length', String(body.length)]] as [string, string][]) : []),
  ];
  return {
    ...{ method, protocol: 'HTTP/1.1', uri: path, fields },
    ...{ remoteAddr: '127.0.0.1', remoteHost: null, isSsl: false },
    serverName: host.replace(/:\d+$/, ''),
    serverPort: Number(/:(\d+)$/.exec(host)?.[1] ?? 80),
    attributes: {
      ...(rest.length > 0 ? { queryString: rest.join('?') } : {}),
      ...(secret === null ? {} : { secret }),
      others: params,
    },
  };
}

/** @param socket Not connected yet. Rejects with a NoAnswerError. */
export async function askAjp(
  socket: Socket,
  request: ForwardRequest,
  body: Buffer,
  timeoutMs: number,
): Promise<Answer> {
  const elapsed = stopwatch();
  const chunks: Buffer[] = [];
  const answer: Answer = {
    ...{ status: 0, headers: [], body, errors: '', endMs: 0, appStatus: null },
    ...{ connectedMs: null, firstByteMs: null },
  };
  let sent = 0;
  await converse(socket, timeoutMs, (done) => {
    answer.connectedMs = elapsed();
    const sendBody = (most: number): void => {
      const piece = body.subarray(sent, sent + Math.min(most, bodyBytesMax(PACKET_BYTES)));
      sent += piece.length;
      for (const bytes of piece.length === 0 ? [BODY_END] : encodeBody(piece)) socket.write(bytes);
    };
    const decoder = new AjpClientDecoder({
      onHead: (status, _reason, fields) => {
        answer.firstByteMs ??= elapsed();
        answer.status = status;
        answer.headers = fields.map(([name, value]) => [name, value]);
      },
      onBody: (bytes) => chunks.push(Buffer.from(bytes)),
      onGetBody: sendBody,
      onEnd: done,
      onPong: () => undefined,
    });
    decoder.begin();
    socket.write(encodeForwardRequest(request));
    if (body.length > 0) sendBody(body.length); // the first packet goes unasked
    return {
      onBytes: (bytes) => decoder.push(bytes),
      onEnd: () => {
        throw new NoAnswerError('it closed the connection before the end of the request');
      },
    };
  });
  return { ...answer, body: Buffer.concat(chunks), endMs: elapsed() };
}
