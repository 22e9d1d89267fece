"""Configs that an older version wrote: read like new ones."""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax.methods import METHODS
from gcl_jax.sampling import SAMPLERS


def with_defaults(config: ConfigDict) -> ConfigDict:
    """``config`` with the default of every key that it lacks."""
    found = config.to_dict()
    blocks = {
        name: config_lib.STAGE for name in found if name not in config_lib.TOP and isinstance(found[name], Mapping)
    }
    filled = _completed(found, {**config_lib.TOP, **blocks})
    for name in blocks:
        for kind, registry in (("method", METHODS), ("sampler", SAMPLERS)):
            own = filled[name][kind]
            if own.get("name") in registry:
                defaults = {f.name: f.default for f in dataclasses.fields(registry[own["name"]])}
                filled[name][kind] = _completed(own, defaults)
    return ConfigDict(filled)


def _completed(found, defaults):
    result = dict(found)
    for key, default in defaults.items():
        if key not in result:
            result[key] = default
        elif isinstance(default, Mapping) and default and isinstance(result[key], Mapping):
            result[key] = _completed(result[key], default)
    return result
