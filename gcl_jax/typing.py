"""Names for types that Python cannot spell."""

from typing import Any

# A nested container (dict, tuple, dataclass) of arrays, as `jax.tree` sees it. No checker can follow what is in it, so
# this is the one place where a signature may say that anything goes.
PyTree = Any

# A value as `json` reads it: a dict, list, text, number, bool or None. What is in it, the reader has to check.
Json = Any
