#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody who has taken over a process and tries what its user might be let do.

Reads attempts from the standard input, a JSON list of [verb, argument, ...]; prints what became of
each as a JSON list: "done", or the name of the error.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)


def bind(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)


def trace(pid):
    checked(libc.ptrace(PTRACE_SEIZE, pid, None, None))
    libc.ptrace(PTRACE_DETACH, pid, None, None)


def take_descriptor(pid, number):
    pidfd = checked(libc.syscall(SYS_PIDFD_OPEN, pid, 0))
    os.close(checked(libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)))


def opened(flags):
    return lambda path: os.close(os.open(path, flags))


def rewrite(path):
    """Over the file that stands there, as one who writes a registration of his own would."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


VERBS = {
    "connect": connect,
    "bind": bind,
    "read": opened(os.O_RDONLY),
    "write": opened(os.O_WRONLY),
    "create": rewrite,
    "list": lambda path: os.listdir(path),
    "enter": lambda path: os.chdir(path),
    "symlink": lambda path: os.symlink("/etc/passwd", path),
    "mkdir": lambda path: os.mkdir(path),
    "delete": lambda path: os.unlink(path),
    "rename": lambda path: os.rename(path, path + ".away"),
    "chmod": lambda path, mode: os.chmod(path, mode),
    "link": lambda path, to: os.link(path, to),
    "signal": lambda pid: os.kill(pid, signal.SIGCONT),
    "trace": trace,
    "descriptor": take_descriptor,
}

results = []
for verb, *arguments in json.load(sys.stdin):
    try:
        VERBS[verb](*arguments)
        results.append("done")
    except OSError as error:
        results.append(errno.errorcode.get(error.errno, str(error.errno)))
json.dump(results, sys.stdout)
