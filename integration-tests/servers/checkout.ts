// SPDX-License-Identifier: Apache-2.0
// Where the things under test are in this checkout.

import { fileURLToPath } from 'node:url';
import { isSanitized } from './sanitized.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

export const apps = `${root}/integration-tests/apps`;
/** The C programs of apps/, built. */
export const builtApps = `${root}/build/apps`;
/** The modules, and the launcher that they start. */
const modules = `${root}/${isSanitized ? 'build-asan' : 'build'}`;
export const nginxModule = `${modules}/ngx_http_usher_module.so`;
export const apacheModule = `${modules}/mod_usher.so`;
export const usher = `${root}/bin/usher`;
