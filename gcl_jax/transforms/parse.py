"""From text such as "crop(4)|flip|cutout(16)" to transforms. Nothing is executed: names and constants only."""

import ast
import dataclasses
import warnings
from collections.abc import Mapping
from typing import TypeVar

from gcl_jax.errors import UserError, did_you_mean, require_one_of, shown
from gcl_jax.registry import Registry
from gcl_jax.transforms.pipeline import Pipeline

T = TypeVar("T")


def parse_pipeline(text: str, registry: Registry, where: str = "a pipeline") -> Pipeline:
    """The pipeline that ``text`` describes, ops of ``registry`` separated by |; "" is the one without ops.

    Raises UserError that names ``where``, the op, and what is allowed.
    """
    return _pipeline(_tree(text, where), registry, where) if text.strip() else Pipeline()


def parse_one(text: str, registry: Registry[type[T]], where: str) -> T:
    """The one thing that ``text`` describes, such as "cutmix(1.0)"; UserError as of `parse_pipeline`."""
    return _instance(_tree(text, where), registry, where)


def _tree(text, where):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of what is odd but can be parsed
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(
            f"{where} is {shown(text)}, which cannot be read; write NAME or NAME(CONSTANTS), separated by |, such as "
            "crop(4)|flip"
        ) from None


def _pipeline(node, registry, where):
    steps = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        steps.append(node.right)
        node = node.left
    return Pipeline(tuple(_instance(step, registry, where) for step in [node, *reversed(steps)]))


def _instance(node, registry, where):
    name, positional, named = node, [], []
    if isinstance(node, ast.Call):
        name, positional, named = node.func, node.args, node.keywords
    if not isinstance(name, ast.Name):
        raise UserError(f"{where}: {_source(node)} is no {registry.kind}; write NAME or NAME(CONSTANTS)")
    require_one_of(f"{where}: a {registry.kind}", name.id, registry)
    cls, where = registry[name.id], f"{where}: {name.id}"
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if len(positional) > len(fields):
        raise UserError(f"{where} has {len(positional)} values; it takes {_takes(fields)}")
    values: dict[str, ast.expr] = dict(zip(fields, positional, strict=False))
    for keyword in named:
        if keyword.arg not in fields:
            near = did_you_mean(keyword.arg, fields)
            raise UserError(f"{where} has no {keyword.arg!r}{near}; it takes {_takes(fields)}")
        if keyword.arg in values:
            raise UserError(f"{where} is given {keyword.arg} twice")
        values[keyword.arg] = keyword.value
    made = {key: _value(node, fields[key].default, registry, f"{where}.{key}") for key, node in values.items()}
    try:
        return cls(**made)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _takes(fields: Mapping) -> str:
    return ", ".join(fields) or "none"


def _value(node, default, registry, where):
    if isinstance(default, Pipeline):
        return _pipeline(node, registry, where)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise UserError(f"{where} is {_source(node)}; it must be a constant") from None
    if isinstance(default, str | bool) and type(value) is not type(default):
        raise UserError(f"{where} is {shown(value)}; it must be a {type(default).__name__}")
    return value


def _source(node):
    return shown(ast.unparse(node)) if not isinstance(node, ast.Constant) else shown(node.value)
