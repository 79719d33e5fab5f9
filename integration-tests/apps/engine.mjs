// SPDX-License-Identifier: Apache-2.0
// A servlet engine without servlets, of the server side of our AJP codecs. It listens at a port of the
// loopback address that the system chooses and prints what happens, one JSON object a line; a line that
// it reads comes back as an event `mark`, after all that happened before. Its only
// argument is a JSON object: protocol ("ajp13", "ajp12"), secret (ajp13), key (ajp12: path of the secret
// file), attributes (names of request attributes that are taken), port.
//
// It answers what it has got, as lines NAME=value, with length and checksum of the body. The query says
// what else it does:
//   status=N, field=NAME:VALUE, error=TEXT (Servlet-Error)
//   bytes=N      the answer is so many bytes of a pattern
//   parts=N      the answer comes in so many pieces, of size=N bytes and ms=N apart, or until nobody
//                takes it any more
//   unread=1     the body is left alone
//   ask=N        no more than so many bytes of the body are asked for at once
//   first=1      the head goes out before the body is asked for
//   hang=1       the answer begins, and does not go on
//   drop=1       the connection is closed in place of an answer
//   reuse=0      the connection is not used again

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { crc32 } from 'node:zlib';
import { encodeChallenge } from '../../dist/protocols/ajp12/challenge.js';
import { Ajp12ServerDecoder } from '../../dist/protocols/ajp12/server-decoder.js';
import { encodeHead as encodeHead12, PONG } from '../../dist/protocols/ajp12/server-encoder.js';
import { AjpServerDecoder } from '../../dist/protocols/ajp13/server-decoder.js';
import {
  CPONG,
  encodeAnswer,
  encodeChunk,
  encodeEnd,
  encodeGetBody,
  encodeHead,
  encodeRefusal,
} from '../../dist/protocols/ajp13/server-encoder.js';

const options = JSON.parse(process.argv[2]);
const askMax = 8186;
const key = options.key === undefined ? null : readFileSync(options.key);

let connections = 0;

function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

function pattern(bytes) {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => i % 251));
}

// ---- a request, whatever it came by

class Request {
  bodyBytes = 0;
  bodyCrc = 0;

  /** `said`: NAME → value; `wire`: how the answer goes out. */
  constructor(said, query, fields, wire) {
    this.said = said;
    this.fields = fields;
    this.wire = wire;
    this.words = new URLSearchParams(query);
    this.hasAnswered = false;
  }

  word(name) {
    return this.words.get(name);
  }

  addBody(bytes) {
    this.bodyBytes += bytes.length;
    this.bodyCrc = crc32(bytes, this.bodyCrc);
  }

  head() {
    const given = this.words.getAll('field').map((text) => {
      const colon = text.indexOf(':');
      return [text.slice(0, colon), Buffer.from(text.slice(colon + 1)).toString('latin1')];
    });
    return {
      status: Number(this.word('status') ?? 200),
      reason: '',
      fields: [['Content-Type', 'text/plain'], ...given],
      servletError: this.word('error') ?? '',
    };
  }

  text() {
    const lines = Object.entries({
      ...this.said,
      bodyBytes: this.bodyBytes,
      bodyCrc: this.bodyCrc.toString(16).padStart(8, '0'),
    });
    for (const [name, value] of this.fields) lines.push([`header.${name.toLowerCase()}`, value]);
    return Buffer.from(lines.map(([name, value]) => `${name}=${value}\n`).join(''), 'latin1');
  }

  answer() {
    if (this.hasAnswered) return;
    this.hasAnswered = true;
    tell('whole', { uri: this.said.uri, bodyBytes: this.bodyBytes });
    if (this.word('drop')) {
      this.wire.drop();
    } else if (this.word('hang')) {
      this.wire.begin(this.head());
      this.wire.write(Buffer.from('begun\n'));
    } else if (this.word('parts')) {
      this.wire.begin(this.head());
      this.parts(0, Number(this.word('parts')));
    } else {
      const bytes = this.word('bytes');
      const body = bytes === null ? this.text() : pattern(Number(bytes));
      const hasBody = this.said.method !== 'HEAD' && this.head().status !== 304;
      this.wire.whole(this.head(), hasBody ? body : Buffer.alloc(0), this.word('reuse') !== '0');
    }
  }

  parts(at, count) {
    if (!this.wire.isThere()) return;
    if (at === count) {
      this.wire.end();
      return;
    }
    this.wire.write(Buffer.from(`part ${at}\n`.padEnd(Number(this.word('size') ?? 0), '.')));
    setTimeout(() => this.parts(at + 1, count), Number(this.word('ms') ?? 10));
  }
}

// ---- AJP 1.3

function serve13(socket, number) {
  let request = null;
  let requests = 0;
  let hasBegun = false;
  let drained = () => undefined;

  const finish = (bytes, reuse) => {
    const end = () => {
      request = null;
      if (reuse) socket.write(bytes);
      else socket.end(bytes);
    };
    if (decoder.finish()) end();
    else drained = end;
  };
  const wire = {
    isThere: () => socket.writable,
    drop: () => socket.destroy(),
    begin: (head) => {
      if (!hasBegun) socket.write(encodeHead(head));
      hasBegun = true;
    },
    write: (bytes) => {
      for (const piece of encodeChunk(bytes)) socket.write(piece);
    },
    end: () => finish(encodeEnd(true), true),
    whole: (head, body, reuse) => {
      const rest = [...encodeChunk(body), encodeEnd(reuse)];
      finish(hasBegun ? Buffer.concat(rest) : encodeAnswer(head, body, reuse), reuse);
    },
  };
  const askForMore = () => {
    if (request === null || request.hasAnswered || !decoder.mayAsk) return;
    if (request.word('first')) wire.begin(request.head());
    decoder.ask();
    socket.write(encodeGetBody(Number(request.word('ask') ?? askMax)));
  };
  const decoder = new AjpServerDecoder(
    {
      onRequest: (received, body) => {
        const { attributes, fields } = received;
        const { others = [], queryString = '', ...rest } = attributes;
        const said = {
          method: received.method,
          uri: received.uri,
          query: queryString,
          protocol: received.protocol,
          remoteAddr: received.remoteAddr,
          serverName: received.serverName,
          serverPort: received.serverPort,
          isSsl: received.isSsl,
          body: body.kind,
          connection: number,
          request: ++requests,
        };
        for (const [name, value] of Object.entries(rest)) said[`known.${name}`] = value;
        for (const [name, value] of others) said[`attribute.${name}`] = value;
        tell('request', { uri: said.uri, connection: number, body: body.kind });
        hasBegun = false;
        request = new Request(said, queryString, fields, wire);
        if (body.kind === 'none' || request.word('unread')) request.answer();
      },
      onBody: (bytes) => request?.addBody(bytes),
      onBodyEnd: () => request?.answer(),
      onPing: () => {
        tell('ping', { connection: number });
        socket.write(CPONG);
      },
      onDrained: () => drained(),
    },
    { secret: options.secret ?? null, attributes: options.attributes ?? [] },
  );
  return {
    push: (bytes) => {
      decoder.push(bytes);
      askForMore();
    },
    isIdle: () => decoder.isIdle,
    refusal: (status) => (status === 0 || hasBegun ? '' : encodeRefusal(status)),
  };
}

// ---- AJP 1.2

function serve12(socket, number) {
  let request = null;
  const wire = {
    isThere: () => socket.writable,
    drop: () => socket.destroy(),
    begin: (head) => socket.write(encodeHead12(head)),
    write: (bytes) => socket.write(bytes),
    end: () => socket.end(),
    whole: (head, body) => socket.end(Buffer.concat([encodeHead12(head), body])),
  };
  const challenge = randomBytes(5);
  if (key !== null) socket.write(encodeChallenge(challenge));
  const decoder = new Ajp12ServerDecoder(
    {
      onRequest: (received, bodyBytes) => {
        const { environment, fields, requestUri, serverProtocol, queryString, ...rest } = received;
        const said = {
          ...rest,
          uri: requestUri,
          query: queryString,
          protocol: serverProtocol,
          body: bodyBytes,
          connection: number,
        };
        for (const [name, value] of environment) said[`attribute.${name}`] = value;
        tell('request', { uri: requestUri, connection: number, body: bodyBytes });
        request = new Request(said, queryString, fields, wire);
        if (request.word('unread')) request.answer();
      },
      onBody: (bytes) => request.addBody(bytes),
      onBodyEnd: () => request.answer(),
      onSignal: (signal, isAuthenticated) => {
        tell('signal', { signal, isAuthenticated });
        socket.end(signal === 'ping' ? PONG : '');
      },
    },
    { authentication: key === null ? null : { challenge, key } },
  );
  return {
    push: (bytes) => decoder.push(bytes),
    isIdle: () => request === null || request.hasAnswered,
    refusal: (status) =>
      status === 0 ? '' : encodeHead12({ status, reason: '', fields: [['Content-Length', '0']] }),
  };
}

// ---- both

const server = net.createServer((socket) => {
  const number = ++connections;
  const serve = options.protocol === 'ajp12' ? serve12 : serve13;
  const served = serve(socket, number);
  let hasFailed = false;
  tell('connection', { connection: number });
  socket.setNoDelay(true);
  socket.on('data', (bytes) => {
    if (hasFailed) return; // read to its end, or the answer would be lost
    try {
      served.push(bytes);
    } catch (error) {
      if (error.name !== 'ProtocolError') throw error;
      hasFailed = true;
      tell('refused', { connection: number, status: error.status, message: error.message });
      socket.end(served.refusal(error.status));
    }
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    tell('closed', { connection: number, isIdle: served.isIdle() });
  });
});

server.listen(options.port ?? 0, '127.0.0.1', () => {
  tell('listening', { port: server.address().port });
});

createInterface({ input: process.stdin }).on('line', (line) => tell('mark', { mark: line }));
