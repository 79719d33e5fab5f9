// SPDX-License-Identifier: Apache-2.0
// A FastCGI program in Node that serves many requests at once, on the socket that is its descriptor 0.
// Answers the parameters, its process id, how many requests it has had, length and checksum of the
// body, one per line; with ?sleep=MS it takes its time. When asked by TERM to end, it takes no more
// connections and ends with the last request. With a file named by NOTES in its environment, each
// request adds process id and query string to that.
//
// It listens by net.Server, which makes the socket non-blocking for all who hold it: right for an
// endpoint of its own, not for one it would share with other programs.

import { appendFileSync } from 'node:fs';
import net from 'node:net';
import { crc32 } from 'node:zlib';

const types = {
  beginRequest: 1,
  abortRequest: 2,
  endRequest: 3,
  params: 4,
  stdin: 5,
  stdout: 6,
  getValues: 9,
  getValuesResult: 10,
  unknown: 11,
};
const responder = 1;
const keepConnection = 1;
const protocolStatus = { complete: 0, unknownRole: 3 };
const contentMax = 65_528; // the longest that needs no padding

let served = 0;

// ---- records

function record(type, id, content = Buffer.alloc(0)) {
  const padding = -content.length & 7;
  const head = Buffer.from([1, type, id >> 8, id & 255, 0, 0, padding, 0]);
  head.writeUInt16BE(content.length, 4);
  return Buffer.concat([head, content, Buffer.alloc(padding)]);
}

function endOf(id, status) {
  return record(types.endRequest, id, Buffer.from([0, 0, 0, 0, status, 0, 0, 0]));
}

/** Splits what has come so far into whole records; what is left waits for more. */
function split(bytes) {
  const records = [];
  let at = 0;
  while (bytes.length - at >= 8) {
    if (bytes[at] !== 1) throw new Error(`version ${bytes[at]}: expected 1`);
    const end = at + 8 + bytes.readUInt16BE(at + 4) + bytes[at + 6];
    if (bytes.length < end) break;
    const content = bytes.subarray(at + 8, end - bytes[at + 6]);
    records.push({ type: bytes[at + 1], id: bytes.readUInt16BE(at + 2), content });
    at = end;
  }
  return { records, rest: bytes.subarray(at) };
}

// ---- name-value pairs

/** The pairs of a whole stream of parameters. Throws when one goes beyond its end. */
function pairs(bytes) {
  const found = [];
  let at = 0;
  const take = (length) => {
    if (at + length > bytes.length) throw new Error('a parameter is longer than its stream');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const length = () => {
    const first = take(1)[0];
    if (first < 128) return first;
    return ((first & 127) << 24) | take(3).readUIntBE(0, 3);
  };
  while (at < bytes.length) {
    const name = length();
    const value = length();
    found.push([take(name).toString('latin1'), take(value).toString('latin1')]);
  }
  return found;
}

/** A name and a value of less than 128 bytes each. */
const pair = (name, value) =>
  Buffer.concat([Buffer.from([name.length, value.length]), Buffer.from(name + value, 'latin1')]);

/** What a server may ask of us; unknown names are left out. */
function valuesFor(content) {
  const known = { FCGI_MAX_CONNS: '100', FCGI_MAX_REQS: '100', FCGI_MPXS_CONNS: '1' };
  const answers = pairs(content)
    .filter(([name]) => Object.hasOwn(known, name))
    .map(([name]) => pair(name, known[name]));
  return record(types.getValuesResult, 0, Buffer.concat(answers));
}

// ---- one request

function answerTo(request) {
  const lines = request.params.map(([name, value]) => `${name}=${value}`);
  lines.push('', `language=node ${process.version}`, `pid=${process.pid}`, `requests=${served}`);
  lines.push(`body_bytes=${request.bodyBytes}`);
  lines.push(`body_crc32=${request.bodyCrc32.toString(16).padStart(8, '0')}`, '');
  return Buffer.from(`Content-Type: text/plain\r\n\r\n${lines.join('\n')}`, 'latin1');
}

function finish(connection, id, request) {
  const { socket, requests } = connection;
  if (requests.get(id) !== request || socket.destroyed) return; // aborted meanwhile
  const answer = answerTo(request);
  for (let at = 0; at < answer.length; at += contentMax) {
    socket.write(record(types.stdout, id, answer.subarray(at, at + contentMax)));
  }
  end(connection, id, Buffer.concat([record(types.stdout, id), endOf(id, 0)]));
}

/** The last words about a request; without KEEP_CONN the connection ends with it. */
function end({ socket, requests }, id, lastRecords) {
  const keeps = requests.get(id)?.keeps ?? false;
  requests.delete(id);
  if (keeps) socket.write(lastRecords);
  else socket.end(lastRecords);
}

function begin({ socket, requests }, id, content) {
  const keeps = (content[2] & keepConnection) !== 0;
  if (content.readUInt16BE(0) !== responder) {
    const refusal = endOf(id, protocolStatus.unknownRole);
    if (keeps) socket.write(refusal);
    else socket.end(refusal);
    return;
  }
  requests.set(id, { keeps, paramBytes: [], params: [], bodyBytes: 0, bodyCrc32: 0 });
}

const queryOf = ({ params }) => params.find(([name]) => name === 'QUERY_STRING')?.[1] ?? '';

function paramsEnded(request) {
  request.params = pairs(Buffer.concat(request.paramBytes));
  const { NOTES } = process.env;
  if (NOTES !== undefined) appendFileSync(NOTES, `${process.pid} ${queryOf(request)}\n`);
}

function bodyEnded(connection, id, request) {
  served += 1;
  const sleepMs = Number(/\bsleep=(\d+)/.exec(queryOf(request))?.[1] ?? 0);
  if (sleepMs === 0) finish(connection, id, request);
  else setTimeout(finish, sleepMs, connection, id, request);
}

function take(connection, { type, id, content }) {
  const { socket, requests } = connection;
  const request = requests.get(id);
  if (id === 0) {
    const isValues = type === types.getValues;
    const unknown = () => record(types.unknown, 0, Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]));
    socket.write(isValues ? valuesFor(content) : unknown());
  } else if (type === types.beginRequest) {
    begin(connection, id, content);
  } else if (request === undefined) {
    // Of a request that has ended, as when its body comes late: to be ignored.
  } else if (type === types.params) {
    if (content.length > 0) request.paramBytes.push(content);
    else paramsEnded(request);
  } else if (type === types.stdin && content.length > 0) {
    request.bodyBytes += content.length;
    request.bodyCrc32 = crc32(content, request.bodyCrc32);
  } else if (type === types.stdin) {
    bodyEnded(connection, id, request);
  } else if (type === types.abortRequest) {
    end(connection, id, endOf(id, protocolStatus.complete));
  }
}

// ---- the program

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  const connection = { socket, requests: new Map() };
  let rest = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    try {
      const found = split(rest.length === 0 ? bytes : Buffer.concat([rest, bytes]));
      rest = Buffer.from(found.rest);
      for (const one of found.records) take(connection, one);
    } catch (error) {
      console.error(`answers: ${error.message}`);
      socket.destroy();
    }
  });
  socket.on('end', () => {
    if (connection.requests.size === 0) socket.end();
  });
  socket.on('error', () => {}); // the server has left: 'close' follows
  socket.on('close', () => connection.requests.clear());
});

server.listen({ fd: 0 });
process.once('SIGTERM', () => server.close());
