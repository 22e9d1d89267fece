"""PyTorch's contenders: the same network, batch, optimizer and loss as ours, run eagerly.

Each takes ``platform``, where our side runs: "cpu", or "gpu", which is then CUDA here. ``layout`` is
"nchw" or "channels_last". Torch gets as many threads as there are cores, and cuDNN chooses its
algorithms by trying them. Importing this module needs no torch.
"""

from collections.abc import Iterator

import numpy as np

from gcl_jax import longtail
from gcl_jax.benchmark import cifar, machine, torch_network
from gcl_jax.benchmark.pillow_loader import ShuffledPrefix, make_loader
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend

SCALE, NOISE_MULTIPLIER = 30.0, 0.5  # configs/cifar10_lt.py:gcl, stage 1
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 2e-4
EVAL_BATCH = 500  # divides the test set
WARM_UP = 3  # steps


class _Torch:
    """A network on its device, in its layout and precision; ``images_per_unit`` as in `ours`."""

    images_per_unit: int

    def __init__(self, platform: str, layout: str, precision: str):
        import torch

        self.torch = torch
        torch.manual_seed(0)
        torch.set_num_threads(backend.cores())
        self.device = _device(torch, platform)
        if platform == "gpu":
            exact = "tf32" if precision == "tf32" else "ieee"  # cuDNN's default is tf32
            torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = exact
            torch.backends.cudnn.benchmark = True
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.half = precision == "bf16"
        network = torch_network.build(cifar.NUM_CLASSES)
        self.network = network.to(self.device, memory_format=self.format)

    def scores(self, images):
        with self.torch.autocast(self.device.type, self.torch.bfloat16, enabled=self.half):
            return self.network(images)

    def normalized(self, images):
        """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in this contender's memory layout."""
        mean, std = self._moments
        images = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return images.contiguous(memory_format=self.format)

    def load(self, name):
        """A split on the device; the moments that normalize it."""
        images, labels = cifar.split(name)
        as_tensor = self.torch.from_numpy
        self._moments = [self.torch.tensor(v, device=self.device).view(3, 1, 1) for v in (cifar.MEAN, cifar.STD)]
        self.images, self.labels = as_tensor(images).to(self.device), as_tensor(labels).long().to(self.device)

    def finish(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def facts(self) -> dict:
        """Memory and sizes."""
        cuda = self.device.type == "cuda"
        return {
            "host_peak_bytes": machine.host_peak_bytes(),
            "device_peak_bytes": self.torch.cuda.max_memory_allocated() if cuda else None,
            "images_per_unit": self.images_per_unit,
            "kind": self.torch.cuda.get_device_name() if cuda else "cpu",
        }


class _Training(_Torch):
    """GCL's stage-1 step on images that are already cropped, flipped and normalized."""

    def __init__(self, platform, layout, precision):
        super().__init__(platform, layout, precision)
        self.optimizer = self.torch.optim.SGD(
            self.network.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        cloud = longtail.cloud_sizes(cifar.COUNTS)
        self.cloud = self.torch.tensor(cloud, dtype=self.torch.float32, device=self.device)
        self.host = np.random.default_rng(0)

    def update(self, images, labels):
        """One step with mixup; (loss, scores), still on the device."""
        torch = self.torch
        share = float(self.host.beta(1.0, 1.0))
        order = torch.randperm(len(labels), device=self.device)
        mixed = share * images + (1 - share) * images[order]
        self.optimizer.zero_grad(set_to_none=True)
        scores = self.scores(mixed.contiguous(memory_format=self.format))
        loss = share * self.loss(scores, labels) + (1 - share) * self.loss(scores, labels[order])
        loss.backward()
        self.optimizer.step()
        return loss.detach(), scores.detach()

    def loss(self, cosine, labels):
        """GCL with fresh noise."""
        noise = self.torch.randn_like(cosine).div_(3).clamp_(-1, 1).abs_()
        clouded = cosine - NOISE_MULTIPLIER * self.cloud * noise
        return self.torch.nn.functional.cross_entropy(SCALE * clouded, labels)


class _Resident(_Training):
    """Training with the data set on the device, where batches are gathered, cropped and flipped at once."""

    def __init__(self, platform, layout, precision):
        super().__init__(platform, layout, precision)
        self.load("train")
        pad = cifar.PADDING
        self.images = self.torch.nn.functional.pad(self.images, (0, 0, pad, pad, pad, pad))  # once, not per batch
        self.pixels = self.torch.arange(cifar.SIDE, device=self.device)

    def plan(self):
        """A shuffled epoch of indices [steps, batch], on the device."""
        order = self.torch.randperm(len(self.labels), device=self.device)
        return order[: cifar.STEPS_PER_EPOCH * cifar.BATCH].view(cifar.STEPS_PER_EPOCH, cifar.BATCH)

    def batch(self, index):
        """Randomly cropped and flipped, normalized images, with labels."""
        torch, pixels = self.torch, self.pixels
        top, left = torch.randint(0, 2 * cifar.PADDING + 1, (2, len(index), 1), device=self.device)
        mirrored = torch.rand(len(index), 1, device=self.device) < 0.5
        rows, columns = top + pixels, left + torch.where(mirrored, pixels.flip(0), pixels)
        cut = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self.normalized(cut), self.labels[index]


class Step(_Resident):
    """A unit is one train step."""

    images_per_unit = cifar.BATCH

    def __init__(self, platform: str, layout: str, precision: str):
        super().__init__(platform, layout, precision)
        self.rows = self._forever()
        self.run(WARM_UP)

    def _forever(self) -> Iterator:
        while True:
            yield from self.plan()

    def run(self, units: int) -> None:
        """Take ``units`` steps."""
        for _ in range(units):
            self.update(*self.batch(next(self.rows)))
        self.finish()


class DeviceEpoch(_Resident):
    """A unit is ``steps`` steps of an epoch on resident data, with the loss fetched as often as ours is logged."""

    def __init__(self, platform: str, layout: str, precision: str, steps: int):
        super().__init__(platform, layout, precision)
        self.images_per_unit = steps * cifar.BATCH
        self._train(WARM_UP)
        self.steps = steps

    def run(self, units: int) -> None:
        """Train ``units`` epochs."""
        for _ in range(units):
            self._train(self.steps)

    def _train(self, steps):
        total = self.torch.zeros((), device=self.device)
        for step, index in enumerate(self.plan()[:steps], start=1):
            loss, _ = self.update(*self.batch(index))
            total += loss
            if step % cifar.LOG_EVERY == 0 or step == steps:
                total.item()
                total.zero_()
        self.finish()


class AuthorsEpoch(_Training):
    """A unit is ``steps`` steps of an epoch as published loops run it.

    A DataLoader's processes crop, flip and normalize images one by one, and every step fetches its loss
    and top-1 and top-5 accuracy.
    """

    def __init__(self, platform: str, precision: str, steps: int):
        super().__init__(platform, "nchw", precision)
        self.images_per_unit = steps * cifar.BATCH
        images, labels = cifar.split("train")
        self.order = ShuffledPrefix(len(labels), WARM_UP * cifar.BATCH)
        self.loader = make_loader(images, labels, self.order, pin_memory=self.device.type == "cuda")
        self.run(1)  # warm-up, which also starts the loader's processes
        self.order.length = steps * cifar.BATCH

    def run(self, units: int) -> None:
        """Train ``units`` epochs."""
        for _ in range(units):
            seen = []
            for images, labels in self.loader:
                images = images.to(self.device, non_blocking=True)
                labels = labels.to(self.device, non_blocking=True)
                loss, scores = self.update(images, labels)
                right = scores.topk(5)[1] == labels[:, None]
                seen.append((loss.item(), right[:, :1].sum().item(), right.sum().item()))
        self.finish()


class Evaluation(_Torch):
    """A unit is the evaluation of 10,000 images: forward in eval mode, and what `metrics.Predictions` has, fetched."""

    images_per_unit = cifar.NUM_TEST

    def __init__(self, platform: str, layout: str, precision: str):
        super().__init__(platform, layout, precision)
        self.load("test")
        self.network.eval()
        self._predict(1)

    def run(self, units: int) -> None:
        """Evaluate ``units`` times."""
        for _ in range(units):
            self._predict(cifar.NUM_TEST // EVAL_BATCH)

    def _predict(self, batches):
        torch, size = self.torch, EVAL_BATCH
        predictions = []
        with torch.inference_mode():
            for i in range(batches):
                images, labels = self.images[i * size : (i + 1) * size], self.labels[i * size : (i + 1) * size]
                logits = SCALE * self.scores(self.normalized(images))
                log_p, of_label = torch.log_softmax(logits, 1), logits.gather(1, labels[:, None])
                predictions.append((
                    labels, logits.argmax(1), (logits > of_label).sum(1), -log_p.gather(1, labels[:, None])[:, 0],
                    log_p.amax(1).exp(),
                ))  # fmt: skip
            return [torch.cat(parts).cpu().numpy() for parts in zip(*predictions, strict=True)]


class Input:
    """A unit is an epoch of batches from the DataLoader of `AuthorsEpoch`, put on the device."""

    images_per_unit = cifar.STEPS_PER_EPOCH * cifar.BATCH

    def __init__(self, platform: str):
        import torch

        torch.set_num_threads(backend.cores())
        self.device = _device(torch, platform)
        images, labels = cifar.split("train")
        order = ShuffledPrefix(len(labels), self.images_per_unit)
        self.loader = make_loader(images, labels, order, pin_memory=self.device.type == "cuda")
        self.run(1)

    def run(self, units: int) -> None:
        """Deliver ``units`` epochs."""
        for _ in range(units):
            for images, labels in self.loader:
                images.to(self.device), labels.to(self.device)

    def facts(self) -> dict:
        """Memory and sizes; the DataLoader's processes are not counted."""
        return {
            "host_peak_bytes": machine.host_peak_bytes(),
            "device_peak_bytes": None,
            "images_per_unit": self.images_per_unit,
            "kind": self.device.type,
        }


def _device(torch, platform):
    if platform == "gpu" and not torch.cuda.is_available():
        raise UserError(
            "torch sees no CUDA device here, but JAX runs on a GPU: install a CUDA build of torch, or compare on the "
            "CPU with JAX_PLATFORMS=cpu"
        )
    return torch.device("cuda" if platform == "gpu" else "cpu")
