"""Protocols of photographs: photos_lt, a small set of 101 classes, and anyone's own folder."""

from gcl_jax.recipes.protocol import Protocol

IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def photographs(**own: object) -> dict:
    """The fields of config.data that all photographs share: decoded on the host, flipped, ImageNet's normalisation."""
    return dict(loader="host", profile="none", crop_padding=0, flip=True, **IMAGENET, **own)


def photos_lt(root: str) -> Protocol:
    """Long-tailed photographs of 101 classes, 60 to 3 each (1,887 and 505 images), ResNet-10 at 64 pixels.

    ``root`` holds the images and photos_lt_train.txt, photos_lt_test.txt. 80 epochs, or 60 and then 20 at rate 0.02 in
    every stage that re-trains; batches of 64. Fixed before any method was measured on them, and the same for all.
    """
    lists = {f"{part}_list": f"{root}/photos_lt_{part}.txt" for part in ("train", "test")}
    return Protocol(
        "photos",
        1.0,
        epochs=80,
        first_epochs=60,
        batch_size=64,
        learning_rate=0.1,
        warmup_percent=5.0,
        mixup_alpha=0.2,
        second_epochs=20,
        second_learning_rate=0.02,
        blocks=dict(
            data=photographs(source="list", name="photos_lt", path=root, photos=dict(size=64, resize=72, **lists)),
            model=dict(name="resnet10"),
            eval=dict(every_epochs=10),
            log=dict(every_steps=29),
            checkpoint=dict(every_steps=290),
        ),
    )


def folder(root: str) -> Protocol:
    """Your own photographs, one folder a class below ``root`` (or below train/ and test/), ResNet-18 at 224 pixels.

    100 epochs, or 100 and then 20 in a stage that re-trains; batches of 64 at rate 0.05, colour jitter 0.4.
    """
    photos = dict(size=224, resize=256, color_jitter=(0.4, 0.4, 0.4))
    return Protocol(
        "photos",
        1.0,
        epochs=100,
        first_epochs=100,
        batch_size=64,
        learning_rate=0.05,
        warmup_percent=5.0,
        mixup_alpha=0.2,
        second_epochs=20,
        second_learning_rate=0.01,
        blocks=dict(
            data=photographs(source="folder", name="folder", path=root, photos=photos),
            model=dict(name="resnet18"),
            eval=dict(every_epochs=5),
            checkpoint=dict(every_minutes=10.0),  # few photographs have few steps, of seconds each on a CPU
        ),
    )
