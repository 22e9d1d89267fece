"""What JSON of ours has to look like for what reads it: a shape is written as an example is, with types for values."""

from collections.abc import Mapping

NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))
_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    type(None): "null",
    float: "a number",
}


def mismatch(value: object, shape: object, where: str = "it") -> str:
    """Where ``value`` is not of ``shape``, for people; "" if it is.

    A shape is a type or a tuple of types, {key: shape} with the keys that are needed ("key?" may be missing), {str:
    shape} for an object of any keys, [shape] for a list that is not empty, [shape, ...] for any. Whole numbers have to
    fit 64 bits.

    >>> mismatch({"steps": [1, "2"], "more": None}, {"steps": [int], "name?": str})
    'steps[1] is a text'
    >>> mismatch({}, {"steps": [int]}), mismatch({"steps": []}, {"steps": [int, ...]})
    ('it has no steps', '')
    """
    if isinstance(shape, Mapping):
        return _of_object(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list) or not (value or len(shape) > 1):
            return f"{where} is {'empty' if value == [] else _kind(value)}"
        return next(filter(None, (mismatch(x, shape[0], f"{where}[{i}]") for i, x in enumerate(value))), "")
    kinds = shape if isinstance(shape, tuple) else (shape,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"{where} is {_kind(value)}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{where} is a number of {len(str(abs(value))) if abs(value) < 10**4000 else 'thousands of'} digits"
    return ""


def _of_object(value: object, shape: Mapping, where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is {_kind(value)}"
    for key, inner in shape.items():
        for name in value if key is str else [key.removesuffix("?")]:
            if name not in value:
                if not key.endswith("?"):
                    return f"{where} has no {name}"
            elif message := mismatch(value[name], inner, name if where == "it" else f"{where}.{name}"):
                return message
    return ""


def _kind(value: object) -> str:
    return _NAMES.get(type(value), "a number")
