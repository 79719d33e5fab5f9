// SPDX-License-Identifier: Apache-2.0
// For tests: answers FastCGI at a socket that it was started with, descriptor 3, until its input ends.
import { listen } from '../listener.ts';
import { echo } from './servlets.ts';

const owner = { run: echo, log: (line: string) => console.error(line) };
const listener = await listen({ protocol: 'fastcgi', address: 'fd:3' }, owner);
process.stdout.write(listener.address);
process.stdin.on('end', () => void listener.stop());
process.stdin.resume();
