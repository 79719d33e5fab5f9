# SPDX-License-Identifier: Apache-2.0
# A program of usher/runtime.
mkdir -p /srv/app/node_modules
ln -s /path/to/usher /srv/app/node_modules/usher
cd /srv/app
cat >app.ts <<'END'
import { serve } from 'usher/runtime';

const words: string[] = ['hello', 'world'];

await serve(() => new Response(words.join(' ')));
END
