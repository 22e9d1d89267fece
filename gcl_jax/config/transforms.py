"""From the keys ``transforms``, ``mix``, ``eval.views`` and ``data`` to a stage's `StageTransforms`, with checks."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import transforms
from gcl_jax.config.accessors import color_jitter
from gcl_jax.errors import UserError, require_one_of, shown
from gcl_jax.methods.base import Method, Stream
from gcl_jax.transforms import BatchTransform, Pipeline, StageTransforms
from gcl_jax.transforms.color import ColorJitter, Grayscale
from gcl_jax.transforms.crop import Crop
from gcl_jax.transforms.flip import Flip


def build_transforms(config: ConfigDict, stage: str, method: Method) -> StageTransforms:
    """The transforms of the stage ``stage`` that trains ``method``; UserError names the wrong key."""
    block, data = config[stage], config.data
    mix = transforms.mix(block.mix, f"config.{stage}.mix")
    overrides = stage_pipelines(block, method, f"config.{stage}")
    streams = {
        name: overrides.get(name) or default_pipelines(data, stream) for name, stream in method.streams().items()
    }
    extra = mix.streams() if mix else {}
    streams |= {name: overrides.get(name) or streams["main"] for name in extra}
    return StageTransforms(tuple(data.mean), tuple(data.std), streams, eval_pipelines(config), mix)


def eval_transforms(config: ConfigDict) -> StageTransforms:
    """The transforms of evaluation alone."""
    return StageTransforms(tuple(config.data.mean), tuple(config.data.std), {}, eval_pipelines(config))


def batch_streams(method: Method, mix: BatchTransform | None) -> dict[str, Stream]:
    """The streams of a stage's batches: the method's, and those that its mix adds."""
    return {**method.streams(), **(mix.streams() if mix else {})}


def default_pipelines(data: Mapping, stream: Stream) -> tuple[Pipeline, ...]:
    """The pipelines that the keys of ``data`` describe, one for each view of ``stream``.

    Each is crop, flip, color jitter, and the grayscale of the stream, as far as they are switched on.
    """
    jitter = color_jitter(data)
    steps = [
        *([Crop(data["crop_padding"])] if data["crop_padding"] else []),
        *([Flip()] if data["flip"] else []),
        *([ColorJitter(*jitter)] if any(jitter) else []),
        *([Grayscale(stream.grayscale)] if stream.grayscale else []),
    ]
    return (Pipeline(tuple(steps)),) * stream.views


def stage_pipelines(block: Mapping, method: Method, where: str) -> dict[str, tuple[Pipeline, ...]]:
    """{stream: a pipeline a view} of the streams that the stage's block names; UserError names the wrong key."""
    mix = transforms.mix(block["mix"], f"{where}.mix")
    if mix:
        _require_mixable(mix, method, block, where)
    streams = batch_streams(method, mix)
    by_stream = {}
    for name, texts in block["transforms"].items():
        place = f"{where}.transforms.{name}"
        require_one_of(f"a stream in {where}.transforms", name, streams)
        pipelines = _pipelines(texts, place)
        if pipelines and len(pipelines) != streams[name].views:
            raise UserError(
                f"{place} has {len(pipelines)} pipelines; it must have one for each view of the stream, "
                f"{streams[name].views}"
            )
        by_stream[name] = pipelines
    return {name: pipelines for name, pipelines in by_stream.items() if pipelines}  # () = the default


def eval_pipelines(config: Mapping) -> tuple[Pipeline, ...]:
    """The pipelines of evaluation, one a view; UserError names the wrong one."""
    return _pipelines(config["eval"]["views"], "config.eval.views")


def _pipelines(texts: object, where: str) -> tuple[Pipeline, ...]:
    if not isinstance(texts, tuple | list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{where} is {shown(texts)}; it must be a tuple of texts, such as ('crop(4)|flip',)")
    return tuple(transforms.pipeline(text, f"{where}[{i}]") for i, text in enumerate(texts))


def _require_mixable(mix: BatchTransform, method: Method, block: Mapping, where: str) -> None:
    """Raise UserError where the stage's ``method`` cannot train on batches that ``mix`` has mixed."""
    name, streams = block["method"]["name"], method.streams()
    if method.label_mixing == "refused" or "main" not in streams:
        raise UserError(f"{where}.mix is {shown(block['mix'])}, but {name} takes no mixed labels: leave it empty")
    if getattr(method, "mixup_alpha", 0):
        raise UserError(
            f"{where}.mix is {shown(block['mix'])}, but {where}.method.mixup_alpha mixes already: set one of them"
        )
    extra = mix.streams()
    if both := sorted(set(extra) & set(streams)):
        raise UserError(f"{where}.mix is {shown(block['mix'])}, but {name} has a stream {both[0]!r} itself")
    if extra and streams["main"].views > 1:
        raise UserError(
            f"{where}.mix is {shown(block['mix'])}, which pastes one view into another, but {name} has several"
        )
