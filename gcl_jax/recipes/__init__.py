"""Recipes: the rows of the comparison, one file a method or family of methods, with the published numbers.

A recipe is a function from a data set's `Protocol`, which a file of configs/ makes, to a config; a row then differs
from the next in its method and in nothing else. Batch sizes, rates and epochs in the docstrings are those on CIFAR-LT
where nothing else is said. Every file of this folder is imported: what `recipe` decorates there is a row on every
data set.
"""

import importlib
import pkgutil

from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import NO_RATIO, RATIOS, RECIPES, Published, Recipe, recipe, row_and_folder, row_and_ratio

__all__ = [
    "NO_RATIO", "RATIOS", "RECIPES", "Protocol", "Published", "Recipe", "recipe", "row_and_folder", "row_and_ratio",
]  # fmt: skip

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
