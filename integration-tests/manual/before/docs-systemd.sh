# SPDX-License-Identifier: Apache-2.0
# A host with systemd (./systemctl stands for it), without Usher.
not_installed
userdel usher
mkdir -p /run/systemd/system
cd /path/to/usher
