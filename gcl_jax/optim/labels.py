"""Which parameters train, and how: labels by regular expressions on parameter paths.

A label is the name of a `ParamGroup`, or `FROZEN`. Labels mirror the parameter tree, as optax's partitions take them.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import jax
from flax import traverse_util

from gcl_jax.errors import UserError, cut
from gcl_jax.typing import PyTree

FROZEN = "frozen"


@dataclasses.dataclass(frozen=True)
class ParamGroup:
    """How the optimizer treats the parameters of one label: rate = ``lr_mult`` * schedule; None = the stage's decay."""

    lr_mult: float = 1.0
    weight_decay: float | None = None


def label_params(params: Mapping, rules: Sequence[tuple[str, str]]) -> dict:
    """The label of each parameter: that of the first rule (REGEX, label) whose regex matches, `FROZEN` if none does.

    A regex is matched from the start of the path, such as "backbone/layer1_0/conv1/kernel" (`re.match`).

    Raises UserError for a regex that is none, and for one that matches no path: it says nothing.

    >>> label_params({"head": {"kernel": 1}, "backbone": {"w": 2}}, [("head/", "head")])
    {'head': {'kernel': 'head'}, 'backbone': {'w': 'frozen'}}
    """
    paths = ["/".join(path) for path in traverse_util.flatten_dict(params)]
    labels: dict[str, str] = {}
    matched: Counter[str] = Counter()
    for path in paths:
        hits = [(regex, label) for regex, label in rules if compiled(regex).match(path)]
        matched.update(regex for regex, _ in hits)
        labels[path] = hits[0][1] if hits else FROZEN
    for regex, _ in rules:
        if not matched[regex]:
            raise UserError(f"{cut(repr(regex))} matches no parameter; there are {some_paths(paths)}")
    return traverse_util.unflatten_dict(labels, sep="/")


def param_groups(
    params: Mapping,
    *,
    trainable: str,
    lr_mult: Sequence[tuple[str, float]] = (),
    weight_decay: Sequence[tuple[str, float]] = (),
    frozen: Collection[str] = (),
) -> tuple[dict, dict[str, ParamGroup]]:
    """(labels, groups) by a stage's rules: one group for each pair of a multiplier and a decay that occurs.

    ``trainable`` is the regex of what trains, but for the paths in ``frozen``. Of ``lr_mult`` and ``weight_decay``,
    rules (regex, number), the first that matches a path counts; without one the multiplier is 1 and the decay the
    stage's. UserError as from `label_params`, and for a rule that counts for nothing that trains.

    >>> tree = {"backbone": {"w": 1}, "head": {"kernel": 2, "scale": 3}}
    >>> param_groups(tree, trainable="head/", lr_mult=[("head/scale", 0.1)])[0]["head"]
    {'kernel': 'group0', 'scale': 'group1'}
    """
    matched = _flat(label_params(params, [(trainable, "trains")]))
    trained_paths = [path for path, label in matched.items() if label != FROZEN and path not in frozen]
    rates, decays = (_numbers(params, rules, trained_paths) for rules in (lr_mult, weight_decay))
    names: dict[tuple[float | None, float | None], str] = {}
    labels = dict.fromkeys(matched, FROZEN)
    for path in trained_paths:
        labels[path] = names.setdefault((rates.get(path), decays.get(path)), f"group{len(names)}")
    groups = {name: ParamGroup(1.0 if rate is None else rate, decay) for (rate, decay), name in names.items()}
    return traverse_util.unflatten_dict(labels, sep="/"), groups


def _numbers(params, rules, trained_paths):
    """{path: number} by ``rules``, of the paths that train and that one of them matches."""
    first = _flat(label_params(params, [(regex, str(place)) for place, (regex, _) in enumerate(rules)]))
    rule_of = {path: int(first[path]) for path in trained_paths if first[path] != FROZEN}
    for place, (regex, value) in enumerate(rules):
        if trained_paths and place not in rule_of.values():
            why = (
                "a rule before it counts there"
                if any(compiled(regex).match(path) for path in trained_paths)
                else "frozen"
            )
            raise UserError(f"the rule {cut(f'{regex}={value:g}')!r} changes nothing: what it matches is {why}")
    return {path: rules[place][1] for path, place in rule_of.items()}


def _flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def compiled(regex: str) -> re.Pattern:
    """``regex`` compiled; UserError if it is none."""
    try:
        return re.compile(regex)
    except (re.error, RecursionError, OverflowError, MemoryError) as error:  # parentheses and numbers without end
        raise UserError(f"{cut(repr(regex))} is no regular expression: {error}") from None


def some_paths(paths: Sequence[str]) -> str:
    """The first few paths, and how many there are, for a message."""
    return f"{len(paths)}: {', '.join(list(paths)[:3])}{', ...' if len(paths) > 3 else ''}"


def parse_rules(rules: Sequence[str], what: str) -> list[tuple[str, float]]:
    """Rules "REGEX=NUMBER" as (regex, number); UserError names the rule under ``what``.

    >>> parse_rules(("backbone/=0.1",), "lr_mult")
    [('backbone/', 0.1)]
    """
    parsed = []
    for rule in rules:
        regex, _, number = rule.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not regex or not 0 <= value < 1e6:
            raise UserError(
                f"{what} has {cut(repr(rule))}; a rule is REGEX=NUMBER, such as 'backbone/=0.1', from 0 to 1e6"
            )
        try:
            compiled(regex)
        except UserError as error:
            raise UserError(f"{what}: {error}") from None
        parsed.append((regex, value))
    return parsed


def stop_frozen(params: PyTree, labels: PyTree) -> PyTree:
    """``params`` in which no gradient reaches what is frozen: its backward pass is not even traced.

    Masks alone leave that to the compiler, which no longer removes it once anything reads the gradient as a whole.
    """
    return jax.tree.map(lambda leaf, label: jax.lax.stop_gradient(leaf) if label == FROZEN else leaf, params, labels)


def apply_updates(params: PyTree, updates: PyTree, labels: PyTree) -> PyTree:
    """``params`` + ``updates``, and what is frozen as it is: adding 0 would turn -0.0 into 0.0."""
    return jax.tree.map(lambda leaf, update, label: leaf if label == FROZEN else leaf + update, params, updates, labels)


def trained_leaves(params: Mapping, labels: Mapping) -> dict:
    """The part of ``params`` that is not frozen.

    >>> labels = {"head": {"kernel": "group0"}, "backbone": {"w": FROZEN}}
    >>> trained_leaves({"head": {"kernel": 1}, "backbone": {"w": 2}}, labels)
    {'head': {'kernel': 1}}
    """
    label = traverse_util.flatten_dict(labels)
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if label[path] != FROZEN})
