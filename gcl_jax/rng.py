"""Named random streams: every draw is a pure function of (seed, names, step).

Nothing is split and carried along, so a resumed run draws what the undisturbed run
would have drawn, and a new stream never shifts an old one. Keys never hold a process
or device index: draws have global shape.
"""

import hashlib

import jax
import numpy as np


def stream_id(name: str) -> int:
    """A stable 31-bit number for a stream name (Python's own ``hash`` is salted per process)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") & 0x7FFFFFFF


def fold(key: jax.Array, *parts: str | int | jax.Array) -> jax.Array:
    """Derive a key from ``key`` by names (str) and counters (int, or traced int32 scalars).

    >>> a = fold(jax.random.key(0), "representation", "loss", 3)
    >>> b = fold(jax.random.key(0), "representation", "loss", 3)
    >>> bool((jax.random.key_data(a) == jax.random.key_data(b)).all())
    True
    """
    for part in parts:
        key = jax.random.fold_in(key, stream_id(part) if isinstance(part, str) else part)
    return key


def numpy_generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A Philox generator for host-side draws (index plans), keyed like `fold`."""
    words = [int(seed)] + [stream_id(p) if isinstance(p, str) else int(p) for p in parts]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
