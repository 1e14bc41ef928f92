"""Record batches as bytes, straight to the broker: what no client library would send."""

import socket
import ssl
import struct
import time
import zlib
from collections.abc import Iterable

from kafka.record.util import calc_crc32c, encode_varint

_NOT_YET = (3, 6)
"""A topic that was just made has no leader everywhere."""


def varint(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(
    delta: int,
    value: bytes | None,
    headers: Iterable[tuple[bytes, bytes | None]] = (),
    key: bytes | None = None,
) -> bytes:
    headers = list(headers)
    body = b"\0" + varint(0) + varint(delta)
    body += varint(-1 if key is None else len(key)) + (key or b"")
    body += varint(-1 if value is None else len(value)) + (value or b"")
    body += varint(len(headers))
    for key, said in headers:
        body += varint(len(key)) + key
        body += varint(-1 if said is None else len(said)) + (said or b"")
    return varint(len(body)) + body


def batch(records: bytes, count: int, codec: int = 0, producer: tuple[int, int, int] = (-1, -1, -1),
          attributes: int = 0) -> bytes:  # fmt: skip
    """`records`: as they go over the wire, compressed already."""
    now = 1_769_835_906_789
    after_crc = (
        struct.pack(">hiqqqhii", codec | attributes, count - 1, now, now, *producer, count)
        + records
    )
    body = struct.pack(">ibI", -1, 2, calc_crc32c(after_crc)) + after_crc
    return struct.pack(">qi", 0, len(body)) + body


def gzip_bomb(size: int) -> bytes:
    """One record whose value is `size` zeros, in a gzip batch."""
    value = varint(size)
    rest = b"\0" + varint(0) + varint(0) + varint(-1) + value
    head = varint(len(rest) + size + 1) + rest
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = packer.compress(head)
    for _ in range(size >> 20):
        out += packer.compress(bytes(1 << 20))
    out += packer.compress(bytes(size & 0xFFFFF) + varint(0)) + packer.flush()
    return batch(out, 1, 1)


def produce(
    bootstrap: str,
    topic: str,
    data: bytes,
    partition: int = 0,
    context: ssl.SSLContext | None = None,
) -> int:
    """The batch's first offset. Raises OSError with the broker's error code.

    `context`: names the sender by its certificate, where the listener asks for one.
    """
    for _ in range(20):
        error, offset = _produce(bootstrap, topic, data, partition, context)
        if error not in _NOT_YET:
            break
        time.sleep(0.1)
    if error:
        raise OSError(f"the broker refused it: error {error}")
    return offset


def _produce(
    bootstrap: str, topic: str, data: bytes, partition: int, context: ssl.SSLContext | None
) -> tuple[int, int]:
    host, port = bootstrap.split(":")
    name = topic.encode()
    request = struct.pack(">hhih", 0, 3, 1, -1) + struct.pack(">hhi", -1, -1, 30_000)
    request += struct.pack(">ih", 1, len(name)) + name
    request += struct.pack(">iii", 1, partition, len(data)) + data
    with socket.create_connection((host, int(port)), 30) as plain:
        connection = context.wrap_socket(plain, server_hostname=host) if context else plain
        connection.settimeout(60)
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", _exactly(connection, 4))[0]
        answer = _exactly(connection, size)
    at = 4 + 4 + 2 + len(name) + 4 + 4
    error, offset = struct.unpack_from(">hq", answer, at)
    return int(error), int(offset)


def _exactly(connection: socket.socket, size: int) -> bytes:
    out = b""
    while len(out) < size:
        more = connection.recv(size - len(out))
        if not more:
            raise OSError("the broker hung up")
        out += more
    return out
