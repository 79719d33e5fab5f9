// SPDX-License-Identifier: Apache-2.0
// Our codecs and fastcgi-stream on the same bytes; a program of its own, so that nobody inherits what another
// one has compiled or left in memory:
//
//   node --expose-gc --max-semi-space-size=64 --min-semi-space-size=64 codec-cases.mjs MS [CASE CODEC]
//
// Without CASE a list of what there is, else one measurement; each is one line of JSON.

import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { encodeRequest as encodeAjp12 } from '../dist/protocols/ajp12/client-encoder.js';
import { Ajp12ServerDecoder } from '../dist/protocols/ajp12/server-decoder.js';
import { encodeHead as encodeAjp12Head } from '../dist/protocols/ajp12/server-encoder.js';
import { AjpClientDecoder } from '../dist/protocols/ajp13/client-decoder.js';
import { encodeForwardRequest } from '../dist/protocols/ajp13/client-encoder.js';
import { AjpServerDecoder } from '../dist/protocols/ajp13/server-decoder.js';
import { encodeAnswer } from '../dist/protocols/ajp13/server-encoder.js';
import { cgiEnvironment } from '../dist/protocols/cgi/environment.js';
import { CgiHeadDecoder } from '../dist/protocols/cgi/head-decoder.js';
import {
  answerInOne,
  decodeParams,
  encodePairs,
  endRecords,
  FastcgiDecoder,
  stdoutRecords,
} from '../dist/protocols/fastcgi/index.js';

const [ms, chosen, codec] = process.argv.slice(2);

// ---- messages, written here and by no encoder of ours

const fields = [
  ['Host', 'www.example.org'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'],
  ['Accept-Language', 'en-GB,en;q=0.7,de;q=0.3'],
  ['Accept-Encoding', 'gzip, deflate, br'],
  ['Cookie', `session=${'0123456789abcdef'.repeat(8)}; theme=dark; consent=${'y'.repeat(200)}`],
];

/** 20 parameters of about 1 kB, as nginx sends them. */
const params = [
  ['QUERY_STRING', 'page=2&order=name'],
  ['REQUEST_METHOD', 'GET'],
  ['CONTENT_TYPE', ''],
  ['CONTENT_LENGTH', ''],
  ['SCRIPT_NAME', '/application/list'],
  ['REQUEST_URI', '/application/list?page=2&order=name'],
  ['DOCUMENT_ROOT', '/srv/www/example.org/htdocs'],
  ['SERVER_PROTOCOL', 'HTTP/1.1'],
  ['GATEWAY_INTERFACE', 'CGI/1.1'],
  ['SERVER_SOFTWARE', 'nginx/1.22.1'],
  ['REMOTE_ADDR', '192.0.2.17'],
  ['REMOTE_PORT', '49152'],
  ['SERVER_PORT', '80'],
  ['SERVER_NAME', 'www.example.org'],
  ...fields.map(([name, value]) => [`HTTP_${name.toUpperCase().replaceAll('-', '_')}`, value]),
];

function record(type, content) {
  const { length } = content;
  const padding = (8 - (length % 8)) % 8;
  const header = Buffer.of(1, type, 0, 1, length >> 8, length & 255, padding, 0);
  return Buffer.concat([header, content, Buffer.alloc(padding)]);
}

function lengthOf(text) {
  const { length } = text;
  return length < 128 ? Buffer.of(length) : Buffer.of(128, 0, length >> 8, length & 255);
}

const pairs = Buffer.concat(
  params.flatMap(([name, value]) => [lengthOf(name), lengthOf(value), Buffer.from(name + value)]),
);
const none = Buffer.alloc(0);

/** A request with a body in records of so many bytes. */
function request(bodyBytes, recordBytes = 32768) {
  const body = Buffer.alloc(bodyBytes, 'body of a request, ');
  const records = [record(1, Buffer.of(0, 1, 1, 0, 0, 0, 0, 0)), record(4, pairs), record(4, none)];
  for (let at = 0; at < bodyBytes; at += recordBytes) {
    records.push(record(5, body.subarray(at, at + recordBytes)));
  }
  return Buffer.concat([...records, record(5, none)]);
}

function pieces(bytes, of) {
  const cut = [];
  for (let at = 0; at < bytes.length; at += of) cut.push(bytes.subarray(at, at + of));
  return cut;
}

const head = 'Status: 200 OK\r\nContent-Type: text/html\r\nCache-Control: no-store\r\n\r\n';
const cgiOutput = Buffer.from(`${head}${'x'.repeat(1000)}`);
const answer = {
  status: 200,
  reason: 'OK',
  fields: [
    ['Content-Type', 'text/html'],
    ['Cache-Control', 'no-store'],
  ],
};
const ajp13 = {
  ...{ method: 'GET', protocol: 'HTTP/1.1', uri: '/application/list', isSsl: false, fields },
  ...{ remoteAddr: '192.0.2.17', remoteHost: null, serverName: 'www.example.org', serverPort: 80 },
  attributes: { queryString: 'page=2&order=name', others: [['AJP_REMOTE_PORT', '49152']] },
};
const ajp12 = {
  ...{ method: 'GET', zone: 'root', servlet: 'List', engineHost: 'localhost', pathInfo: '' },
  ...{ documentRoot: '/srv/www', pathTranslated: '', queryString: 'page=2&order=name' },
  ...{ remoteAddr: '192.0.2.17', remoteHost: '', remoteUser: '', authType: '' },
  ...{ requestUri: '/application/list', scriptFilename: '', scriptName: '/application' },
  ...{ serverName: 'www.example.org', serverPort: 80, serverProtocol: 'HTTP/1.1' },
  ...{ serverSignature: '', serverSoftware: 'Apache', route: '', environment: [], fields },
};

// ---- what is done with them: a function for one message

/** Whoever reads counts, so that nothing is left out as of no use. */
let told = 0;
const count = () => {
  told += 1;
};
const countBytes = (bytes) => {
  told += bytes.length;
};

function fastcgiDecoder(chunks) {
  const decoder = new FastcgiDecoder(
    {
      onRequest: ({ params }) => {
        told += params.get('REQUEST_METHOD').length;
      },
      onBody: (_id, bytes) => countBytes(bytes),
      onBodyEnd: (id) => decoder.end(id),
      onAbort: count,
      onReply: count,
    },
    { paramsBytes: 1 << 20 },
  );
  return () => {
    for (const chunk of chunks) decoder.push(chunk);
  };
}

const require = createRequire(import.meta.url);

/** It gives its own records, and gathers no parameters of several. */
function rivalDecoder(chunks) {
  const FastCGIStream = require('fastcgi-stream').FastCGIStream;
  const stream = new EventEmitter();
  new FastCGIStream(stream).on('record', count);
  return () => {
    for (const chunk of chunks) stream.emit('data', chunk);
  };
}

function rivalEncoder(body, recordBytes) {
  const { FastCGIStream, records } = require('fastcgi-stream');
  const out = Object.assign(new EventEmitter(), { write: countBytes });
  const stream = new FastCGIStream(out);
  return () => {
    for (let at = 0; at < body.length; at += recordBytes) {
      stream.writeRecord(1, new records.StdOut(body.subarray(at, at + recordBytes)));
    }
    stream.writeRecord(1, new records.StdOut(none));
    stream.writeRecord(1, new records.EndRequest(0, 0));
  };
}

function fastcgiAnswer(body) {
  return () => {
    for (const bytes of stdoutRecords(1, body)) countBytes(bytes);
    countBytes(endRecords(1));
  };
}

function ajp13Server(bytes) {
  const decoder = new AjpServerDecoder(
    {
      onRequest: () => {
        count();
        decoder.finish();
      },
      ...{ onBody: count, onBodyEnd: count, onPing: count, onDrained: count },
    },
    { secret: null, attributes: [] },
  );
  return () => decoder.push(bytes);
}

function ajp13Client(chunks) {
  const decoder = new AjpClientDecoder({
    ...{ onHead: count, onBody: countBytes, onGetBody: count, onEnd: count, onPong: count },
  });
  return () => {
    decoder.begin();
    for (const chunk of chunks) decoder.push(chunk);
  };
}

function ajp12Server(bytes) {
  const events = { onRequest: count, onBody: countBytes, onBodyEnd: count, onSignal: count };
  return () => new Ajp12ServerDecoder(events, { authentication: null }).push(bytes);
}

const bodyOf = (bytes) => Buffer.alloc(bytes, 'an answer, ');
const ajpAnswer = (bytes) => encodeAnswer(answer, bodyOf(bytes), true, 65536);
const small = request(0);
const large = request(1_000_000);
const records = request(60_000, 100);

function decode(label, bytes, cut = bytes.length, isRivalRight = true) {
  const chunks = pieces(bytes, cut);
  return {
    label: `FastCGI, decode: ${label}`,
    bytes: bytes.length,
    ours: () => fastcgiDecoder(chunks),
    ...(isRivalRight && { 'fastcgi-stream': () => rivalDecoder(chunks) }),
  };
}

function encode(label, bytes) {
  const body = Buffer.concat([Buffer.from(head), bodyOf(bytes)]);
  return {
    label: `FastCGI, encode: ${label}`,
    bytes: body.length,
    ours: () => fastcgiAnswer(body),
    'fastcgi-stream': () => rivalEncoder(body, 65528),
  };
}

const params13 = decodeParams(pairs);
const room = Buffer.alloc(4096);

const cases = {
  get: decode('request, 20 parameters', small),
  post20k: decode('the same, body of 20 kB', request(20_000)),
  post1m: decode('the same, body of 1 MB, in pieces of 64 kB', large, 65536),
  records: decode('60 kB in records of 100 bytes', records),
  odd: decode('body of 20 kB, in pieces of 997 bytes', request(20_000), 997),
  params: {
    label: 'FastCGI, encode: 20 parameters',
    bytes: pairs.length,
    ours: () => () => countBytes(encodePairs(params)),
  },
  page: {
    label: 'FastCGI, encode: answer of 1 kB, as the runtime does it',
    bytes: head.length + 1000,
    ours: () => {
      const text = 'x'.repeat(1000);
      return () => countBytes(answerInOne(1, head, text, room));
    },
  },
  answer1k: encode('answer of 1 kB', 1000),
  answer20k: encode('answer of 20 kB', 20_000),
  answer1m: encode('answer of 1 MB', 1_000_000),
  ajp13get: {
    label: 'AJP 1.3, decode: request',
    bytes: encodeForwardRequest(ajp13).length,
    ours: () => ajp13Server(encodeForwardRequest(ajp13)),
  },
  ajp13request: {
    label: 'AJP 1.3, encode: request',
    bytes: encodeForwardRequest(ajp13).length,
    ours: () => () => countBytes(encodeForwardRequest(ajp13)),
  },
  ajp13answer: {
    label: 'AJP 1.3, encode: answer of 1 kB',
    bytes: ajpAnswer(1000).length,
    ours: () => {
      const body = bodyOf(1000);
      return () => countBytes(encodeAnswer(answer, body, true));
    },
  },
  ajp13read: {
    label: 'AJP 1.3, decode: answer of 20 kB, in pieces of 997 bytes',
    bytes: ajpAnswer(20_000).length,
    ours: () => ajp13Client(pieces(encodeAnswer(answer, bodyOf(20_000), true), 997)),
  },
  ajp12get: {
    label: 'AJP 1.2, decode: request',
    bytes: encodeAjp12(ajp12).length,
    ours: () => ajp12Server(encodeAjp12(ajp12)),
  },
  ajp12request: {
    label: 'AJP 1.2, encode: request',
    bytes: encodeAjp12(ajp12).length,
    ours: () => () => countBytes(encodeAjp12(ajp12)),
  },
  ajp12answer: {
    label: 'AJP 1.2, encode: head of an answer',
    bytes: encodeAjp12Head(answer).length,
    ours: () => () => countBytes(encodeAjp12Head(answer)),
  },
  cgihead: {
    label: 'CGI, decode: head of an answer of 1 kB',
    bytes: cgiOutput.length,
    ours: () => () => countBytes(new CgiHeadDecoder().push(cgiOutput).body),
  },
  cgienv: {
    label: 'CGI, environment of 20 parameters',
    bytes: pairs.length,
    ours: () => () => countBytes(cgiEnvironment(params13)),
  },
};

// ---- measuring

function processorNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** Before the compiler has done its work some take ten times as long. */
const WARM_UP_MS = 30;

function warmUp(step) {
  for (let times = 1; ; times *= 2) {
    const nsEach = time(step, times);
    if (nsEach * times >= WARM_UP_MS * 1e6) return nsEach;
  }
}

/** ns of processor time a message, the collector's included. */
function time(step, times) {
  const before = processorNs();
  for (let i = 0; i < times; i++) step();
  return (processorNs() - before) / times;
}

/** What is allocated for a message while the collector does not run. */
function allocated(step, times) {
  globalThis.gc();
  const before = process.memoryUsage();
  for (let i = 0; i < times; i++) step();
  const after = process.memoryUsage();
  const grew = (field) => Math.max(0, after[field] - before[field]) / times;
  return { heapBytes: grew('heapUsed'), bufferBytes: grew('arrayBuffers') };
}

function measure({ bytes, [codec]: prepare }) {
  const step = prepare();
  const ns = time(step, Math.ceil((Number(ms) * 1e6) / warmUp(step)));
  const toldBefore = told;
  step();
  if (told === toldBefore) throw new Error(`${chosen}, ${codec}: nothing was told`);
  const times = Math.min(2000, 4e6 / bytes, 5e7 / ns);
  return { ns, ...allocated(step, Math.max(1, Math.round(times))) };
}

if (chosen === undefined) {
  const list = Object.entries(cases).map(([name, { label, bytes, ...codecs }]) => {
    return { name, label, bytes, codecs: Object.keys(codecs) };
  });
  console.log(JSON.stringify(list));
} else {
  console.log(JSON.stringify(measure(cases[chosen])));
}
