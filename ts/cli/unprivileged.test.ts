// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { unprivilegedUser } from './unprivileged.ts';

t.test('whom root lets do it', (t) => {
  const nobody = 'nobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n';
  const root = 'root:x:0:0:root:/root:/bin/bash\n';
  const usher = 'usher:x:999:998::/:/usr/sbin/nologin\n';
  t.same(unprivilegedUser(root + nobody + usher), { name: 'usher', uid: 999, gid: 998 });
  t.same(unprivilegedUser(root + nobody), { name: 'nobody', uid: 65_534, gid: 65_533 });
  t.throws(() => unprivilegedUser(root), /neither a user usher nor nobody/);
  t.throws(() => unprivilegedUser(`usher:x:0:0::/:/bin/sh\n${root}`), /neither/, 'not root');
  t.end();
});
