// SPDX-License-Identifier: Apache-2.0
// Requests that come by FastCGI.
import type { Socket } from 'node:net';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import {
  FastcgiConnection,
  type RequestHandler,
  type ServedRequest,
} from '../../serving/fastcgi-connection.ts';
import type { FieldList } from '../exchange.ts';
import { cgiHead } from './answer-fields.ts';
import { cgiRequest } from './cgi-request.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { HeldBodyExchange } from './held-body.ts';
import { refusalOf } from './refusals.ts';

/** @param onClose the connection is gone, and all its exchanges are over */
export function fastcgiConnection(
  socket: Socket,
  owner: ConnectionOwner,
  onClose: () => void,
): FastcgiConnection {
  return new FastcgiConnection(socket, {
    onRequest: (request) => {
      const role = request.head.role === 'authorizer' ? 'authorizer' : 'responder';
      const { head, error } = cgiRequest('fastcgi', role, request.head.params);
      const exchange = new FastcgiExchange(request, head, owner);
      if (error === null) owner.run(exchange);
      else exchange.refuse(refusalOf(error));
      return exchange;
    },
    onEnded: () => undefined,
    onClose,
    onBroken: (error) => owner.log(error.message),
  });
}

/** Of an authorizer the answer is the same on the wire: 200 lets pass, and Variable-NAME fields are for the
 * web server. */
class FastcgiExchange extends HeldBodyExchange implements RequestHandler {
  readonly #request: ServedRequest;
  readonly #owner: ConnectionOwner;
  /** Given, and not sent yet: it goes with what comes next. */
  #heldHead: string | null = null;
  #bodyBytes = 0;

  constructor(request: ServedRequest, head: HeldBodyExchange['head'], owner: ConnectionOwner) {
    super(head);
    this.#request = request;
    this.#owner = owner;
  }

  /** What is found out after the answer is nothing that the web server takes. */
  override report(line: string): void {
    if (this.state === 'over') this.#owner.log(line);
    else this.#request.report(line);
  }

  protected override startPeer(): void {
    this.#request.resumeBody();
  }

  protected override stopPeer(): void {
    this.#request.pauseBody();
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    this.#heldHead = cgiHead(status, reason, fields);
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.#sendHeld();
    return this.#request.write(bytes);
  }

  protected override sendNow(): void {
    this.#sendHeld();
  }

  protected override sendEnd(last: Buffer | null): void {
    if (this.#heldHead !== null) {
      this.#request.answer(this.#heldHead, last);
      return;
    }
    if (last !== null) this.#request.write(last);
    this.#request.end();
  }

  protected override sendTextEnd(text: string): void {
    if (this.#heldHead !== null) this.#request.answer(this.#heldHead, text);
    else this.sendEnd(Buffer.from(text));
  }

  /** Without a head the web server answers 502 by itself. */
  protected override sendBreak(): void {
    this.#request.breakOff();
  }

  #sendHeld(): void {
    if (this.#heldHead === null) return;
    this.#request.write(Buffer.from(this.#heldHead, 'latin1'));
    this.#heldHead = null;
  }

  // ---- of the connection

  onBody(bytes: Buffer): void {
    this.#bodyBytes += bytes.length;
    this.takeBody(bytes);
  }

  /** Half of an upload is no upload. One of which nothing came was kept back by the web server, which
   * may do so and leave CONTENT_LENGTH as it was. */
  onBodyEnd(): void {
    const { bodyBytes } = this.head;
    if (bodyBytes !== null && this.#bodyBytes > 0 && this.#bodyBytes < bodyBytes) {
      const text = `the body has ${this.#bodyBytes} of ${bodyBytes} bytes`;
      this.giveUp(refusalOf(new ProtocolError(text, 400)));
      return;
    }
    this.takeBodyEnd();
  }

  onAbort(): void {
    this.abort(new Error('the client has left'));
    this.#request.end();
  }

  onDrain(): void {
    this.listener?.onDrain();
  }
}
