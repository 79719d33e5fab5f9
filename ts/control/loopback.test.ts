// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { asksForLoopback, isLoopback, readListen } from './loopback.ts';

t.test('addresses to listen at', (t) => {
  t.same(readListen('127.0.0.1:9180'), { host: '127.0.0.1', port: 9180 });
  t.same(readListen('[::1]:80'), { host: '::1', port: 80 });
  t.same(readListen('localhost:1'), { host: 'localhost', port: 1 });
  for (const wrong of ['', '9180', '127.0.0.1', '127.0.0.1:', ':80', '::1:80', 'a:99999', 'a:b']) {
    t.equal(readListen(wrong), null, wrong);
  }
  for (const host of ['127.0.0.1', '127.255.0.3', '::1', 'localhost']) t.ok(isLoopback(host), host);
  for (const host of ['128.0.0.1', '127.evil.example', '::', '0.0.0.0', '']) {
    t.notOk(isLoopback(host), host);
  }
  t.end();
});

t.test('whom a request asks for', (t) => {
  for (const header of ['127.0.0.1', '127.0.0.1:80', '[::1]:9180', 'localhost:8082', 'LocalHost']) {
    t.ok(asksForLoopback(header), header);
  }
  for (const header of [undefined, '', 'evil.example', 'evil.example:80', '127.0.0.1.evil:80']) {
    t.notOk(asksForLoopback(header), String(header));
  }
  t.end();
});
