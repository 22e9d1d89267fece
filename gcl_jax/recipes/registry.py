"""The registry of recipes, and what the arguments of a config file mean."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from gcl_jax.errors import UserError, did_you_mean, shown
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.registry import Registry

NO_RATIO = 0  # the ratio of data sets that are long-tailed by themselves
RATIOS = (200, 100, 50)  # the paper's
Published = Mapping[str, Mapping[int, float]]  # {data set: {imbalance ratio: top-1 in %}}


@dataclasses.dataclass(eq=False)
class Recipe:
    """A row of the comparison: ``make`` takes a data set's protocol and returns the row's config.

    ``label`` is its name in tables, ``published`` what the GCL paper's Tables 1, 2, 4 and 5 say of it.
    """

    make: Callable[[Protocol], ConfigDict]
    label: str
    published: Published

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.make)  # name, module and docstring

    def __call__(self, protocol: Protocol) -> ConfigDict:
        """The config of the row on the data of ``protocol``."""
        return self.make(protocol)


RECIPES: Registry[Recipe] = Registry("recipe", {})


def recipe(
    label: str, published: Mapping[str, float | Mapping[int, float]] | None = None
) -> Callable[[Callable[[Protocol], ConfigDict]], Recipe]:
    """A decorator that registers a function as the recipe of its name.

    ``published`` {data set: top-1 in %, or {imbalance ratio: top-1 in %}}.
    """
    by_ratio = {
        dataset: dict(numbers) if isinstance(numbers, Mapping) else {NO_RATIO: numbers}
        for dataset, numbers in (published or {}).items()
    }

    def register(make: Callable[[Protocol], ConfigDict]) -> Recipe:
        made = Recipe(make, label, by_ratio)
        RECIPES.register(make.__name__, made)
        return made

    return register


def row_and_ratio(arguments: str, default: float = 100.0) -> tuple[Recipe, float]:
    """The recipe and the imbalance ratio that ``arguments`` "ROW" or "ROW,RATIO" name.

    Raises UserError for a row that is none, with a list of those that are, and for what is no ratio.

    >>> row, ratio = row_and_ratio("gcl,50")
    >>> row.label, ratio
    ('GCL', 50.0)
    """
    name, comma, ratio = arguments.partition(",")
    row = _find(name, "ROW,RATIO", "gcl,100")
    if not comma:
        return row, default
    try:
        number = float(ratio)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 1e9:
        known = [str(r) for r in RATIOS]
        raise UserError(
            f"the imbalance ratio is {shown(ratio)}{did_you_mean(ratio, known)}; it must be a number from 1 on, such "
            f"as {', '.join(known)}, which the paper has"
        )
    return row, number


def row_and_folder(arguments: str, default: str = "") -> tuple[Recipe, str]:
    """The recipe and the folder of the data that ``arguments`` "ROW" or "ROW,DIR" name; DIR may hold commas.

    Raises UserError for a row that is none, with a list of those that are.

    >>> row_and_folder("ce,photos/a,b")[1], row_and_folder("ce", "data/photos_lt")[1]
    ('photos/a,b', 'data/photos_lt')
    """
    name, comma, folder = arguments.partition(",")
    return _find(name, "ROW,DIR", "gcl,photos"), folder if comma else default


def _find(name, form, example):
    if name in RECIPES:
        return RECIPES[name]
    wrong = f"there is no row {shown(name)}{did_you_mean(name, RECIPES)}" if name else "no row is named"
    raise UserError(
        f"{wrong}; write {form} behind the colon, such as :{example}; rows are {', '.join(sorted(RECIPES))}"
    )
