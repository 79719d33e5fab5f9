// SPDX-License-Identifier: Apache-2.0
// docs/registration.md, proved by a server that knows no more than that.

import t from 'tap';
import { protocol } from './behaviours/protocol.ts';

t.test('tiny-server', protocol);
