"""The likely meaning of a key that does not exist: a typo, a key of another block, or what other programs call it."""

import difflib
from collections.abc import Iterable, Iterator

from ml_collections import ConfigDict

# {the last parts of a key's path: its names in other programs}
SYNONYMS = {
    "learning_rate": "lr rate base_lr initial_lr",
    "weight_decay": "wd decay l2",
    "batch_size": "bs batch batchsize train_batch_size",
    "epochs": "epoch num_epoch num_epochs n_epochs max_epochs total_epochs",
    "momentum": "mom",
    "schedule": "scheduler lr_schedule lr_scheduler",
    "warmup_percent": "warmup warmup_epochs warmup_steps",
    "boundaries_percent": "milestones",
    "clip_norm": "clip grad_clip gradient_clip max_grad_norm clip_grad_norm",
    "micro_batches": "grad_accum accumulation accumulation_steps gradient_accumulation",
    "init_from": "init pretrained weights checkpoint_path ckpt resume load load_from finetune",
    "model.name": "arch architecture net network backbone",
    "method.name": "loss loss_type criterion",
    "data.name": "dataset",
    "data.path": "root data_dir data_path data_root",
    "data.profile": "imb_type",
    "imbalance_ratio": "ratio imb_ratio imb_factor imbalance_factor",
    "validation_fraction": "val_fraction validation_split val_split",
    "photos.size": "image_size img_size input_size crop_size resolution",
    "mixup_alpha": "mixup",
    "focal_gamma": "gamma",
    "seed": "random_seed manual_seed",
    "num_seeds": "n_seeds",
    "precision": "amp fp16 bf16 dtype half",
    "log.every_steps": "log_every print_freq log_interval",
    "eval.every_epochs": "eval_every eval_interval",
    "checkpoint.every_steps": "save_every save_freq save_interval",
}
OURS = {theirs: ours for ours, names in SYNONYMS.items() for theirs in names.split()}


def unknown_key(config: ConfigDict, path: str) -> str | None:
    """A one-line message if ``path`` (dotted) is no key of ``config``, naming the nearest keys or its block's."""
    seen: list[str] = []
    block, parts = config, path.split(".")
    if "" in parts:
        return f"config.{path} names no key; write --config.KEY=VALUE, with the parts of KEY separated by single dots"
    for part in parts:
        if not isinstance(block, ConfigDict):
            return f"config.{path}: config.{'.'.join(seen)} is a value, not a block"
        if part not in block:
            near = [f"config.{key}" for key in _nearest(config, seen, parts)]
            message = f"the nearest {'is' if len(near) == 1 else 'are'}" if near else "there is"
            return f"config.{path} does not exist; {message} {', '.join(near or block)}"
        block = block[part]
        seen.append(part)
    return None


def _nearest(config: ConfigDict, seen: list[str], parts: list[str]) -> list[str]:
    """Dotted keys that may be meant by ``parts``, of which ``seen`` exist: the first of these that there are.

    Keys spelled like it in its block; keys of that name, or of ours for it, inside the block or anywhere; keys spelled
    like it anywhere; keys of the block that begin alike.
    """
    block, part = config, parts[len(seen)].lower()
    for name in seen:
        block = block[name]
    beside = [".".join([*seen, name]) for name in _like(part, block, 0.8)]
    all_keys = list(_paths(config))
    inside = [key for key in all_keys if key.startswith(".".join([*seen, ""]))]
    rest = ".".join(parts[len(seen) :]).lower().replace("-", "_")
    last = rest.rpartition(".")[2]
    names = [rest, last, OURS.get(last, last)]
    places = [_ending(keys, name) for keys in (inside, all_keys) for name in names]
    alike = [[key for name in _like(last, {k.split(".")[-1] for k in keys}, 0.75) for key in _ending(keys, name)]
             for keys in (inside, all_keys)]  # fmt: skip
    begun = [[".".join([*seen, name]) for name in block if name.startswith(part) or part.startswith(f"{name}[")]]
    return next((matches for matches in [beside, *places, *alike, *begun] if matches), [])


def _like(name: str, names: Iterable[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)


def _ending(keys: Iterable[str], name: str) -> list[str]:
    return [key for key in keys if key == name or key.endswith(f".{name}")]


def _paths(block: ConfigDict, at: str = "") -> Iterator[str]:
    for key, value in block.items():
        yield f"{at}{key}"
        if isinstance(value, ConfigDict):
            yield from _paths(value, f"{at}{key}.")
