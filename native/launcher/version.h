/* SPDX-License-Identifier: Apache-2.0 */
/* The version that `hello` names; a manager of another one starts the launcher anew. */
#ifndef USHER_LAUNCHER_VERSION_H
#define USHER_LAUNCHER_VERSION_H

#ifndef USHER_VERSION
#define USHER_VERSION "0.1.0"
#endif

#endif
