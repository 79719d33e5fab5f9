// SPDX-License-Identifier: Apache-2.0
// Imported first by every script: stops at a Node that is too old, before anything newer is used.

const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 20 || (major === 20 && minor < 17)) {
  console.error(
    `Usher needs Node 20.17 or newer, this is ${process.versions.node} (Debian 12's own is 18).\n` +
      'Install a current one, for example as root:\n' +
      '  curl -fsSL https://deb.nodesource.com/setup_22.x | bash - && apt-get install -y nodejs\n' +
      'or unpack one from https://nodejs.org/en/download and put its bin/ first in PATH.',
  );
  process.exit(1);
}
