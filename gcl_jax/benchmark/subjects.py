"""What contenders can be measured at, and who they are."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from gcl_jax.benchmark.harness import Worker

OURS, TORCH, CEILING = "ours", "torch", "ceiling"  # sides
LAYOUTS = ("nchw", "channels_last")


@dataclasses.dataclass(frozen=True)
class Contender:
    """A row of the table: ``worker`` is MODULE.CLASS in this package, made with the ``settings``.

    Torch's side also gets the platform that ours found; with ``shares_steps``, its number of steps too.
    """

    name: str
    side: str
    worker: str
    settings: Mapping = dataclasses.field(default_factory=dict)
    shares_steps: bool = False

    def start(self, addresses: Mapping) -> Worker:
        """The warmed-up process; ``addresses`` is what the first contender's said of itself."""
        settings = dict(self.settings)
        if self.side == TORCH:
            settings["platform"] = addresses["platform"]
        if self.shares_steps:
            settings["steps"] = addresses["steps"]
        command = [sys.executable, "-m", "gcl_jax.benchmark.worker", self.worker, json.dumps(settings)]
        # JAX would otherwise take most of a GPU's memory, which all contenders share, and hide its own peak.
        return Worker(self.name, command, {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"})


@dataclasses.dataclass(frozen=True)
class Subject:
    """A measurement. The first contender is ours; ``ratios`` is {key: the contenders that it is compared with}."""

    title: str
    unit: str
    contenders: Sequence[Contender]
    ratios: Mapping[str, Sequence[Contender]]
    notes: Sequence[str] = ()

    def alone(self) -> "Subject":
        """The same without PyTorch."""
        kept = [contender for contender in self.contenders if contender.side != TORCH]
        return dataclasses.replace(self, contenders=kept, ratios={})


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags that subjects take; each reads those that mean something to it."""

    precision: str = "float32"
    steps: int = 0
    root: str = ""


def _recipe(precision):
    return f"GCL stage 1, ResNet-32, batch 64, 32 x 32 x 3, {precision}"


def _layouts(name, worker, precision, **fields):
    return [
        Contender(f"{name} {layout}", TORCH, worker, {"precision": precision, "layout": layout}, **fields)
        for layout in LAYOUTS
    ]


def step(options: Options) -> Subject:
    """One train step, and the machine's ceilings."""
    precision = options.precision
    theirs = _layouts("torch eager", "torch_workers.Step", precision)
    return Subject(
        title=f"one train step, data resident: {_recipe(precision)}",
        unit="step",
        contenders=[
            Contender("gcl_jax", OURS, "ours.Step", {"precision": precision}),
            *theirs,
            Contender("matmul", CEILING, "ceilings.Matmul", {"precision": precision}),
            Contender("copy", CEILING, "ceilings.Copy"),
        ],
        ratios={"ratio": theirs},
        notes=["FLOP and bytes of a step are the compiler's count; its bytes include what caches serve"],
    )


def epoch(options: Options) -> Subject:
    """An epoch of ``steps`` steps through the host loop; 0 for what suits the machine."""
    precision, steps = options.precision, options.steps
    authors = Contender(
        "torch DataLoader loop", TORCH, "torch_workers.AuthorsEpoch", {"precision": precision}, shares_steps=True
    )
    resident = _layouts("torch resident", "torch_workers.DeviceEpoch", precision, shares_steps=True)
    return Subject(
        title=f"an epoch through the host loop, with logging, without evaluation: {_recipe(precision)}",
        unit="epoch",
        contenders=[
            Contender("gcl_jax", OURS, "ours.Epoch", {"precision": precision, "steps": steps}),
            authors,
            *resident,
        ],
        ratios={
            "ratio": [authors, *resident],
            "ratio_authors_loop": [authors],
            "ratio_device_loop": resident,
        },
        notes=["the DataLoader's processes (Pillow) are not in its peak; it fetches loss and accuracy every step"],
    )


def evaluation(options: Options) -> Subject:
    """Predictions of the test set."""
    precision = options.precision
    theirs = _layouts("torch eager", "torch_workers.Evaluation", precision)
    return Subject(
        title=f"evaluation of 10,000 images, data resident, predictions fetched: ResNet-32, {precision}",
        unit="evaluation",
        contenders=[Contender("gcl_jax", OURS, "ours.Evaluation", {"precision": precision}), *theirs],
        ratios={"ratio": theirs},
    )


def feeding(options: Options) -> Subject:
    """The loaders alone: of CIFAR-shaped images, or with ``root`` of photographs."""
    if options.root:
        return _photographs(options.root)
    theirs = Contender("torch DataLoader, Pillow", TORCH, "torch_workers.Input")
    return Subject(
        title="an epoch's batches of 64 CIFAR-shaped images put on the device",
        unit="epoch",
        contenders=[
            Contender("gcl_jax host loader", OURS, "ours.Input", {"loader": "host"}),
            Contender("gcl_jax device loader", OURS, "ours.Input", {"loader": "device"}),
            theirs,
        ],
        ratios={"ratio": [theirs]},
        notes=[
            "the ratio is the host loader's. It delivers uint8 images and the device loader indices of resident ones,",
            "both augmented later, in the step; the DataLoader delivers augmented float32 images",
        ],
    )


def _photographs(root):
    plain, jittered = (
        Contender(name, TORCH, "photo_loaders.Torch", {"root": root, "jitter": jitter})
        for name, jitter in (("torch DataLoader, Pillow", False), ("torch DataLoader, Pillow, jitter", True))
    )
    return Subject(
        title="2,048 random-resized crops of 224 pixels from JPEGs of 500 x 375 (75 to 110 KB), in batches of 64",
        unit="2,048 images",
        contenders=[
            Contender("gcl_jax host loader", OURS, "photo_loaders.Ours", {"root": root}),
            Contender("gcl_jax, and the step's part here", OURS, "photo_loaders.Ours", {"root": root, "augment": True}),
            plain,
            jittered,
        ],
        ratios={"ratio": [plain], "ratio_jitter": [jittered]},
        notes=[
            "ratios are the host loader's, which delivers uint8; flip, jitter and normalization are the step's part,",
            "on the accelerator where there is one; the DataLoader delivers float32, flipped and normalized",
        ],
    )


# Each with the flags that mean something to it.
SUBJECTS: dict[str, tuple[Callable[[Options], Subject], tuple[str, ...]]] = {
    "step": (step, ("against", "precision")),
    "epoch": (epoch, ("against", "precision", "steps")),
    "eval": (evaluation, ("against", "precision")),
    "input": (feeding, ("against", "root")),
}
