// SPDX-License-Identifier: Apache-2.0
// Which servlet of JServ's a path names, as mod_jserv reads it for ApJServMount.
import type { ZoneMount } from '../../link.ts';
import { Failure } from '../failure.ts';
import { shown } from '../request-path.ts';

/** All '' where the engine is to find its servlet by the URI. */
export interface NamedServlet {
  zone: string;
  servlet: string;
  /** The path up to the servlet's name, and what follows it: decoded. */
  scriptName: string;
  pathInfo: string;
}

const UNNAMED: NamedServlet = { zone: '', servlet: '', scriptName: '', pathInfo: '' };

/** The engine's own servlet, which shows and changes its state; mod_jserv passes nobody on to it. */
const JSERV_ITSELF = '/org.apache.jserv.JServ';

export class Zones {
  readonly #mounts: readonly ZoneMount[];

  constructor(mounts: readonly ZoneMount[]) {
    this.#mounts = [...mounts].sort((a, b) => b.path.length - a.path.length);
  }

  /**
   * @param path As the engine sees it, decoded.
   * @throws Failure for the engine's own servlet
   */
  servletAt(path: string): NamedServlet {
    const mount = this.#mounts.find((one) => isBelow(path, one.path));
    if (mount === undefined) return UNNAMED;
    if (path.includes(JSERV_ITSELF)) {
      throw new Failure(403, `the path ${shown(path)} names the engine's own servlet`);
    }
    const rest = path.slice(mount.path.length);
    const parts = rest.split('/').slice(1);
    const own = mount.zone === null ? parts.slice(0, 2) : parts.slice(0, 1);
    const names = own.map(withoutParameters);
    const [zone = '', servlet = ''] = mount.zone === null ? names : [mount.zone, ...names];
    if (servlet === '') return { zone, servlet, scriptName: mount.path, pathInfo: rest };
    return {
      zone,
      servlet,
      scriptName: [mount.path, ...names].join('/'),
      pathInfo: rest.slice(1 + own.join('/').length),
    };
  }
}

function isBelow(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && ['/', undefined].includes(path[prefix.length]);
}

/** Of "cart;jsessionid=1.a". */
function withoutParameters(segment: string): string {
  return segment.split(';', 1)[0] ?? '';
}
