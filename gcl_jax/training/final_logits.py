"""At the end of a stage: the logits of validation and test go to its folder, and metrics are made from them."""

import contextlib
import tempfile

from etils import epath

from gcl_jax import logs, metrics, stored_logits
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.errors import UserError
from gcl_jax.methods import ClassInfo
from gcl_jax.runtime import distributed
from gcl_jax.training import evaluate
from gcl_jax.training.stage import Stage


def store_and_measure(
    stage: Stage, variables: tuple, info: ClassInfo, folder: epath.Path, name: str, *, keep: bool = True
) -> dict[str, dict]:
    """Store the logits of a trained ``stage`` and compute config.eval.metrics: {split: {metric: value}}.

    Written in ``folder`` if ``keep`` and config.eval.store_logits; metrics alone are made from files that are then
    removed. Files that are there and whole stay and are read; ``name`` is the stage's in what is printed. The forward
    pass is one more over these splits; at most a batch of logits is in memory, and for metrics those of one split.
    To be called by every process. Raises UserError where the files cannot be written.
    """
    keep, names = keep and stage.config.eval.store_logits, stage.config.eval.metrics
    splits = [split for split in stored_logits.SPLITS if split in stage.dataset.splits]
    if not (keep or names):
        return {}
    by_split = {}
    with contextlib.ExitStack() as stack:
        if not keep:
            folder = epath.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sizes = {split: _write(stage, variables, info, folder, split) for split in splits}
        if keep:
            listed = " and ".join(f"{split} {_size(size)}" for split, size in sizes.items())
            logs.log_info(f"{name}: logits stored as float16, {listed}")
        for split in splits if names else ():
            by_split[split] = distributed.run_on_host0(lambda split=split: _measured(folder, split, names, name))
    return by_split


def measure_again(
    stage: Stage, variables: tuple, info: ClassInfo, folder: epath.Path, name: str, *, final: bool
) -> dict[str, dict]:
    """The same for an evaluation of what a run has, which changes no file of it that is whole.

    ``final``: whether these are the variables with which the stage ended, under the rules of then. Logits that it
    left are then read, and where there are none they are stored.
    """
    splits = [split for split in stored_logits.SPLITS if split in stage.dataset.splits]
    names = stage.config.eval.metrics
    if final and distributed.run_on_host0(lambda: all(_is_whole(folder, split, stage) for split in splits)):
        return {
            split: distributed.run_on_host0(lambda split=split: _measured(folder, split, names, name))
            for split in (splits if names else ())
        }
    return store_and_measure(stage, variables, info, folder, name, keep=final)


def _write(stage: Stage, variables: tuple, info: ClassInfo, folder: epath.Path, split: str) -> int:
    """The size of the file, in bytes; process 0 writes it, and all compute."""
    dataset, images = stage.dataset, stage.dataset.splits[split].images
    labels = dataset.splits[split].labels
    files = images.paths if isinstance(images, EncodedImages) else None
    batches = evaluate.logits(
        stage.eval_step, variables, info, stage.loader, stage.mesh, split, len(labels), stage.eval_batch_size
    )
    with stored_logits.Writer(folder, split, labels, dataset.class_names, dataset.counts, files) as writer:
        for batch in batches:
            distributed.run_on_host0(lambda batch=batch: writer.add(batch))
        return distributed.run_on_host0(writer.finish)


def _measured(folder: epath.Path, split: str, names: tuple[str, ...], stage: str) -> dict:
    stored = stored_logits.read(folder, split)
    measured, problems = metrics.measure(names, stored.logits, stored.labels, stored.class_counts)
    for problem in problems:
        logs.log_info(f"warning: {stage}, {split}: {problem}; it is null in the result, and the rest is not affected")
    return measured


def _is_whole(folder: epath.Path, split: str, stage: Stage) -> bool:
    """Whether the logits of ``split`` are there, readable and of these images; says so of a file that is not."""
    if not stored_logits.path(folder, split).exists():
        return False
    try:
        stored = stored_logits.read(folder, split)
    except UserError as error:
        logs.log_info(f"warning: {error}")
        return False
    return stored.labels.tolist() == stage.dataset.splits[split].labels.tolist()


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
