#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FastCGI program in Python without any library: a small responder, and a page made by it.

One connection, one request at a time, as FastCGI programs without threads are written. The web
server connects to the listening socket that is our standard input. Source: FastCGI 1.0.
"""

import html
import os
import socket
import struct
import sys
import zlib

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MULTIPLEX, UNKNOWN_ROLE = 0, 1, 3
RESPONDER = 1


class Connection:
    """Records in and out on one accepted socket."""

    def __init__(self, accepted):
        self.socket = accepted
        self.stream = accepted.makefile("rb")

    def read_record(self):
        """(type, request id, content), or None when the server has closed the connection."""
        header = self.stream.read(8)
        if len(header) < 8:
            return None
        _, kind, request_id, length, padding = struct.unpack("!BBHHBx", header)
        content = self.stream.read(length)
        self.stream.read(padding)
        return kind, request_id, content

    def write_record(self, kind, request_id, content=b""):
        self.socket.sendall(struct.pack("!BBHHBx", 1, kind, request_id, len(content), 0) + content)

    def write_answer(self, request_id, answer):
        for start in range(0, len(answer), 65535):
            self.write_record(STDOUT, request_id, answer[start : start + 65535])
        self.write_record(STDOUT, request_id)
        self.end_request(request_id, REQUEST_COMPLETE)

    def end_request(self, request_id, protocol_status):
        self.write_record(END_REQUEST, request_id, struct.pack("!IBxxx", 0, protocol_status))


def decode_pairs(content):
    """The name-value pairs of §3.4: lengths of one byte, or of four with the first bit set."""
    at = 0

    def length():
        nonlocal at
        first = content[at]
        if first < 128:
            at += 1
            return first
        at += 4
        return struct.unpack("!I", content[at - 4 : at])[0] & 0x7FFFFFFF

    while at < len(content):
        name_length, value_length = length(), length()
        name = content[at : at + name_length]
        value = content[at + name_length : at + name_length + value_length]
        at += name_length + value_length
        yield os.fsdecode(name), os.fsdecode(value)


def encode_pair(name, value):
    return bytes([len(name), len(value)]) + name + value


def serve_connection(accepted, handler):
    """Answers the requests of one connection; returns when it is closed."""
    connection = Connection(accepted)
    current, keep = 0, False
    params, body = bytearray(), bytearray()
    while (record := connection.read_record()) is not None:
        kind, request_id, content = record
        if kind == GET_VALUES:
            ours = {"FCGI_MAX_CONNS": b"1", "FCGI_MAX_REQS": b"1", "FCGI_MPXS_CONNS": b"0"}
            asked = [name for name, _ in decode_pairs(content) if name in ours]
            pairs = b"".join(encode_pair(name.encode(), ours[name]) for name in asked)
            connection.write_record(GET_VALUES_RESULT, 0, pairs)
        elif request_id == 0:
            connection.write_record(UNKNOWN_TYPE, 0, bytes([kind]) + bytes(7))
        elif kind == BEGIN_REQUEST:
            role, flags = struct.unpack("!HB5x", content)
            if current != 0:
                connection.end_request(request_id, CANT_MULTIPLEX)
            elif role != RESPONDER:
                connection.end_request(request_id, UNKNOWN_ROLE)
            else:
                current, keep = request_id, bool(flags & KEEP_CONN)
                params, body = bytearray(), bytearray()
        elif request_id != current:
            continue
        elif kind == PARAMS:
            params += content
        elif kind == STDIN and content:
            body += content
        elif kind in (STDIN, ABORT_REQUEST):
            if kind == STDIN:
                connection.write_answer(current, handler(dict(decode_pairs(bytes(params))), bytes(body)))
            else:
                connection.end_request(current, REQUEST_COMPLETE)
            current = 0
            if not keep:
                return


def serve(handler):
    listener = socket.socket(fileno=os.dup(0))
    while True:
        accepted, _ = listener.accept()
        with accepted:
            try:
                serve_connection(accepted, handler)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the web server no longer wants the answer


requests = 0


def answer(environ, body):
    global requests
    requests += 1
    if environ.get("QUERY_STRING") == "as=text":
        lines = [f"{name}={value}" for name, value in sorted(environ.items())]
        lines += ["", f"language=python {sys.version.split()[0]}", f"pid={os.getpid()}"]
        lines += [f"requests={requests}", f"body_bytes={len(body)}"]
        lines += [f"body_crc32={zlib.crc32(body):08x}"]
        return b"Content-Type: text/plain\r\n\r\n" + os.fsencode("\n".join(lines) + "\n")

    rows = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(value)}"
        for name, value in sorted(environ.items())
    )
    page = f"""<!doctype html>
<title>Python</title>
<h1>Python {sys.version.split()[0]}, no library</h1>
<p>Process {os.getpid()}, request {requests}.</p>
<table>{rows}</table>
<p><a href="/">all programs</a></p>
"""
    return b"Content-Type: text/html; charset=utf-8\r\n\r\n" + page.encode(errors="replace")


if __name__ == "__main__":
    serve(answer)
