#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""systemd's end of NOTIFY_SOCKET: binds the socket that is named and prints what comes, a line each."""

import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print("listening", flush=True)
while True:
    for line in listener.recv(4096).decode().splitlines():
        print(line, flush=True)
