"""Long-tailed photographs of 101 classes, ResNet-10 at 64 pixels: some minutes on a CPU.

    python -m gcl_jax.main --config=configs/photos_lt.py:gcl,DIR --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/; DIR holds the images, photos_lt_train.txt and photos_lt_test.txt
(from Caltech-101: 60 to 3 images a class, 1,887 in all, and 505 to test; not in this repository). ResNet-50 at 224
pixels: --config.model.name=resnet50 --config.data.photos.size=224 --config.data.photos.resize=256.
Nothing is published for these data.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_folder


def protocol(root: str) -> Protocol:
    """80 epochs, or 60 and then 20 at rate 0.02 in every stage that re-trains; batches of 64.

    Fixed before any method was measured on them, and the same for all.
    """
    return Protocol(
        dataset="photos_lt",
        fallbacks=("cifar10_lt",),
        blocks=dict(
            data=dict(
                source="list",
                name="photos_lt",
                path=root,
                loader="host",
                profile="none",
                crop_padding=0,
                flip=True,
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
                photos=dict(
                    size=64,
                    resize=72,
                    train_list=f"{root}/photos_lt_train.txt",
                    test_list=f"{root}/photos_lt_test.txt",
                ),
            ),
            model=dict(name="resnet10"),
            eval=dict(every_epochs=10),
            log=dict(every_steps=29),
            checkpoint=dict(every_steps=290),
        ),
        epochs=80,
        first_epochs=60,
        batch_size=64,
        optimizer=dict(
            learning_rate=0.1,
            weight_decay=2e-4,
            schedule="step",
            warmup_percent=5.0,
            boundaries_percent=(80.0, 90.0),
            decay_factors=(0.1, 0.01),
        ),
        second_epochs=20,
        second_learning_rate=0.02,
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,DIR; without a folder it is data/photos_lt."""
    recipe, root = row_and_folder(arguments, "data/photos_lt")
    return recipe(protocol(root))
