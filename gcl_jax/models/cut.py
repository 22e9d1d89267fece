"""A backbone cut at a block: what lies below it once, and what lies above it again and again."""

from collections.abc import Callable, Sequence

import jax

from gcl_jax.errors import require_one_of

Block = Callable[[jax.Array], jax.Array]


def run_blocks(blocks: Sequence[tuple[str, Block]], x: jax.Array, *, start: str = "", upto: str = "") -> jax.Array:
    """``x`` through the named ``blocks`` in order: those after ``start``, whose output ``x`` then is, up to ``upto``.

    Raises UserError for a name that no block has.

    >>> blocks = [("stem", lambda x: x + 1), ("layer1", lambda x: 2 * x), ("layer2", lambda x: x - 3)]
    >>> run_blocks(blocks, 1), run_blocks(blocks, 1, upto="layer1"), run_blocks(blocks, 4, start="layer1")
    (1, 4, 1)
    """
    names = [name for name, _ in blocks]
    for what, name in (("start", start), ("upto", upto)):
        if name:
            require_one_of(f"the block {what}", name, names)
    first = names.index(start) + 1 if start else 0
    last = names.index(upto) + 1 if upto else len(names)
    for _, block in blocks[first:last]:
        x = block(x)
    return x
