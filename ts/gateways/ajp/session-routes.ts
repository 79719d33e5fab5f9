// SPDX-License-Identifier: Apache-2.0
// Which backend a request's session lives at: session ids end with '.' and the route of the backend
// that made them.

/**
 * Routes in the order in which they are to be tried: the path's, then those of the cookies. There are
 * several where applications share a name or a client keeps a former cookie.
 *
 * @param cookies The Cookie header field.
 */
export function sessionRoutes(
  path: string,
  cookies: string | undefined,
  pathName: string,
  cookieName: string,
): string[] {
  const routes: string[] = [];
  const add = (id: string): void => {
    const dot = id.lastIndexOf('.');
    const route = id.slice(dot + 1);
    if (dot >= 0 && route !== '' && !routes.includes(route)) routes.push(route);
  };
  const mark = `;${pathName}=`;
  if (path.includes(mark)) {
    for (const part of path.split(mark).slice(1)) add(part.split(/[;/]/, 1)[0] ?? '');
  }
  if (cookies?.includes(cookieName)) {
    for (const pair of cookies.split(';')) {
      const equals = pair.indexOf('=');
      if (equals < 0 || pair.slice(0, equals).trim() !== cookieName) continue;
      const value = pair.slice(equals + 1).trim();
      add(value.replace(/^"(.*)"$/, '$1'));
    }
  }
  return routes;
}
