"""Small photographs on disk, for tests of sources that read files, and runs that train on them."""

import numpy as np
from PIL import Image
from tiny import load_config, override


def write(path, mode="RGB", size=(8, 6), **options):
    """An image file of one color; its format goes by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return path


def keys(**given):
    """config.data.photos as a mapping, with what is ``given`` changed."""
    from gcl_jax.config import PHOTOS

    return PHOTOS | {key: str(value) if key.endswith(("list", "counts")) else value for key, value in given.items()}


def four_classes(root, noise=20):
    """Four classes of 9 to 3 photographs, by color, and two test images each: folders and lists below ``root``.

    ``noise`` is the standard deviation of a pixel about its class's color.
    """
    generator, lists = np.random.default_rng(0), {"train": ([], []), "test": ([], [])}
    for label, (name, number) in enumerate({"ant": 9, "bee": 7, "cat": 5, "dog": 3}.items()):
        for i in range(number + 2):
            part = "train" if i < number else "test"
            path = f"{part}/{name}/{i}.jpg"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(generator.normal(60 * label + 30, noise, (70, 50 + 10 * i, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / path)
            lists[part][0].append(path)
            lists[part][1].append(label)
    for part, (paths, labels) in lists.items():
        write_list(root, f"{part}.txt", paths, labels)
    return root


def write_list(root, name, paths, labels):
    """A list of lines `path label`."""
    (root / name).write_text("".join(f"{path} {label}\n" for path, label in zip(paths, labels, strict=True)))
    return str(root / name)


def config_of(root, source, **overrides):
    """configs/photos_lt.py:gcl on `four_classes`, for a CPU and some seconds."""
    config = load_config("photos_lt:gcl", str(root))
    values = {
        "data.source": source,
        "data.photos.train_list": f"{root}/train.txt",
        "data.photos.test_list": f"{root}/test.txt",
        "data.photos.size": 32,
        "data.photos.resize": 36,
        "data.photos.color_jitter": (0.2, 0.2, 0.2),
        "model.name": "resnet8",
        "representation.batch_size": 8,
        "classifier.batch_size": 8,
        "representation.epochs": 2,
        "classifier.epochs": 2,
        "eval.every_epochs": 2,
        "checkpoint.every_steps": 2,
        "log.every_steps": 3,
    }
    return override(config, values | {key.replace("__", "."): value for key, value in overrides.items()})


def trained_on(config, folder):
    """The result of a run and the checkpoints of its stages."""
    from gcl_jax.checkpoints import checkpoint
    from gcl_jax.training import experiment

    result = experiment.run(config, str(folder))
    return result, {
        stage: checkpoint.read(folder / stage / "checkpoints")[0] for stage in ("representation", "classifier")
    }


def equal(ours, theirs):
    """Assert that the checkpoints of two runs are, bit for bit."""
    for stage in theirs:
        assert ours[stage].keys() == theirs[stage].keys()
        for name, value in theirs[stage].items():
            np.testing.assert_array_equal(ours[stage][name], value, err_msg=f"{stage} {name}")
