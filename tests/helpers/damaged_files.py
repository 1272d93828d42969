"""`damage`: a file as a broken disk, an interrupted copy or an editor might leave it."""

from __future__ import annotations

import random


def damage(content: bytes, seed: int) -> bytes:
    """Returns a damaged variant of a file: cut short, or with some bytes changed, added, removed or repeated."""
    generator = random.Random(seed)
    data = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(data) + 1)
        length = generator.choice([1, 2, 10, 100])
        chunk = bytes(data[start : start + length])
        way = generator.choice(["cut", "flip", "insert", "remove", "repeat"])
        if way == "cut":
            del data[start:]
        elif way == "flip":
            for index in range(start, min(start + length, len(data))):
                data[index] ^= 1 << generator.randrange(8)
        elif way == "insert":
            added = generator.choice([b"\0", b'"', b"\n", b",", b"\xff", b"\x1a", generator.randbytes(length)])
            data[start:start] = added
        elif way == "remove":
            del data[start : start + length]
        else:
            data[start:start] = chunk * generator.randint(1, 50)
    return bytes(data)
