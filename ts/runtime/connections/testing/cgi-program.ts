// SPDX-License-Identifier: Apache-2.0
// A CGI program for tests; what it does is in QUERY_STRING.
import type { Servlet } from '../../exchange.ts';
import { runCgi } from '../cgi-process.ts';
import { answer, echo, mirror, Opened } from './servlets.ts';

const servlets: Record<string, Servlet> = {
  echo,
  mirror,
  early: (exchange) => {
    new Opened(exchange);
    answer(exchange, 'early', 413);
  },
  meta: (exchange) => {
    new Opened(exchange);
    const { fields, metadata } = exchange.head;
    const { protocol, role, remoteAddress, variables } = metadata;
    const text = variables.get('X_TEXT');
    answer(exchange, JSON.stringify({ fields, protocol, role, remoteAddress, text }));
  },
  report: (exchange) => {
    new Opened(exchange);
    exchange.refuse({ status: 503, reason: 'Closed', log: 'why', retryAfterSeconds: 9 });
  },
  break: (exchange) => {
    new Opened(exchange);
    exchange.begin(200, '', []);
    exchange.write(Buffer.from('half'));
    exchange.breakOff();
  },
  /** Writes until nobody reads, as fast as it is read. */
  endless: (exchange) => {
    const opened = new Opened(exchange);
    const piece = Buffer.alloc(65536, 'x');
    const more = () => {
      while (exchange.state === 'answering' && exchange.write(piece));
    };
    opened.onDrain = more;
    process.on('exit', () => process.stderr.write(`over: ${opened.aborted?.message}`));
    exchange.begin(200, '', []);
    more();
  },
};

await runCgi(servlets[process.env.QUERY_STRING ?? ''] as Servlet);
process.stderr.write('.');
