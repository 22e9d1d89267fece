"""Where a stage's parameters come from: the stage before, another run, or a published checkpoint."""

import hashlib
import re
from collections.abc import Callable, Mapping

import numpy as np
from etils import epath
from flax import traverse_util

from gcl_jax import paths
from gcl_jax.checkpoints import checkpoint, integrity, pretrained
from gcl_jax.errors import UserError
from gcl_jax.models import torch_names
from gcl_jax.paths import done_file


def seed_folder(init_from: str | epath.Path, seed: int) -> str:
    """The folder that ``seed`` starts from: the seed's in ``init_from``, a run of several, else ``init_from`` itself.

    Raises UserError if that run has other seeds only.
    """
    path = paths.given(init_from)
    if path.is_file() or not paths.matching(path, "seed_*"):
        return str(init_from)
    if not (path / f"seed_{seed}").exists():
        raise UserError(f"init_from: {path} is a run of several seeds, but not of seed {seed}")
    return str(path / f"seed_{seed}")


def load(init_from: str, stage_before: str | None) -> dict:
    """Variables {"params", "batch_stats", ...} of numpy arrays from ``init_from``, and "class_names" if they are known.

    ``init_from`` is a file with a torch state dict (see `pretrained` and `models.torch_names`); the folder of a stage;
    a run's workdir, of which the stage called ``stage_before`` is taken, or its only one; or the folder of one
    checkpoint, DIR/checkpoints/STEP.

    Raises UserError when there is nothing to load there, and for a stage that is not finished.
    """
    path = paths.given(init_from)
    if not path.exists():
        raise UserError(f"init_from: there is no {path}")
    if path.is_file():
        return torch_names.from_torch(pretrained.read(str(path)))
    if path.parent.name == "checkpoints" and path.name.isdecimal():
        return read(path.parent, int(path.name))[0]
    if not (path / "checkpoints").exists():
        stages = [p.parent.name for p in paths.matching(path, "*/checkpoints")]
        if stage_before in stages:
            path = path / stage_before
        elif len(stages) == 1:
            path = path / stages[0]
        else:
            raise UserError(
                f"init_from: {path} holds {'the stages ' + ', '.join(stages) if stages else 'no checkpoints'}; name "
                "the folder of one stage, such as DIR/representation"
            )
    stage = path.parent if path.name == integrity.BEST else path
    if not done_file(stage.parent, stage.name).exists():
        raise UserError(
            f"init_from: {stage} is not finished, and its newest checkpoint will be another one: train it to its end "
            f"first, or copy {path / 'checkpoints' / 'STEP'} to DIR/checkpoints/STEP, and name that"
        )
    return read(path / "checkpoints")[0]


def read(checkpoints: epath.Path, step: int | None = None) -> tuple[dict, int]:
    """What `load` returns, of the checkpoint of ``step``, by default the newest one; and that step."""
    variables, note, step = checkpoint.read_variables(checkpoints, step)
    class_names = {"class_names": tuple(note["class_names"])} if "class_names" in note else {}
    return variables | class_names, step


def arrays(variables: Mapping) -> dict:
    """The arrays among ``variables``, as `load` or `read` returns them: all but the class names."""
    return {name: tree for name, tree in variables.items() if name != "class_names"}


def restore_variables(
    fresh: Mapping, saved: Mapping, restore_filter: Callable[[tuple[str, ...]], bool], origin: str
) -> dict:
    """``fresh`` variables with everything that ``restore_filter(path)`` accepts taken from ``saved``.

    Parameters and batch statistics keep their fresh values where ``restore_filter`` says no. A head is
    restored like the rest and never left out by itself: weights of other classes, or of another
    kind of head, are for a ``restore`` without it. Raises UserError naming the first array that
    is missing, has another shape or is not finite, and the first of ``saved`` that would be left unused.
    """
    result = {}
    for collection in ("params", *(name for name in fresh if name != "params")):
        new, old = (traverse_util.flatten_dict(dict(v.get(collection, {}))) for v in (fresh, saved))
        for path in new:
            if not restore_filter(path):
                continue
            name = "/".join(path)
            if path not in old:
                raise UserError(f"{origin} has no {collection} {name}: it is of another model or head{_hint(path)}")
            if np.shape(old[path]) != np.shape(new[path]):
                raise UserError(
                    f"{origin}: {name} has shape {np.shape(old[path])}, the model needs {np.shape(new[path])}"
                    f"{_hint(path)}"
                )
            new[path] = np.asarray(old[path])
            if not np.isfinite(new[path]).all():
                raise UserError(f"{origin}: {name} holds numbers that are not finite")
        unused = [path for path in old if path not in new and restore_filter(path)]
        if unused:
            name = "/".join(unused[0])
            raise UserError(f"{origin} holds {name}, for which the model has no place{_hint(unused[0])}")
        result[collection] = traverse_util.unflatten_dict(new)
    return result


def restored_by(regex: str) -> Callable[[tuple[str, ...]], bool]:
    """Whether a path, such as ("head", "kernel"), is matched by ``regex`` from its start: the stage's ``restore``.

    >>> restored_by("backbone/|head/kernel")(("head", "kernel_scale"))
    True
    """
    pattern = re.compile(regex)
    return lambda path: pattern.match("/".join(path)) is not None


def restored_part(variables: Mapping, restore_filter: Callable[[tuple[str, ...]], bool]) -> dict:
    """The part of ``variables`` that `restore_variables` took from elsewhere."""
    flat = traverse_util.flatten_dict(dict(variables))
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if restore_filter(path[1:])})


def _hint(path: tuple[str, ...]) -> str:
    """What to do about a parameter of the head that does not fit."""
    return "; --config.STAGE.restore=backbone/ takes the backbone alone" if path[0] == "head" else ""


def digest(variables: Mapping) -> str:
    """SHA-256 over names and values: part of the fingerprint of a stage that starts from ``variables``."""
    state = hashlib.sha256()
    for path, leaf in sorted(traverse_util.flatten_dict(dict(variables)).items()):
        state.update("/".join(path).encode())
        state.update(np.ascontiguousarray(leaf))
    return state.hexdigest()
