// SPDX-License-Identifier: Apache-2.0
// Where the things under test are in this checkout.

import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

export const apps = `${root}/integration-tests/apps`;
/** The C programs of apps/, built. */
export const builtApps = `${root}/build/apps`;
export const nginxModule = `${root}/build/ngx_http_usher_module.so`;
export const apacheModule = `${root}/build/mod_usher.so`;
export const usher = `${root}/bin/usher`;
