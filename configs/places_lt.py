"""Places-LT (62,500 images, 4980 to 5 a class), ResNet-152 over a published, frozen trunk.

    python -m gcl_jax.main --config=configs/places_lt.py:gcl,DIR --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/; DIR holds the images, Places_LT_train.txt, _val.txt, _test.txt
and torchvision's resnet152.pth, of which all but the last block is frozen, batch norm with it. About 1 hour a row at
2,000 images a second, most of it a forward pass: an estimate, not measured.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_folder


def protocol(root: str) -> Protocol:
    """Batch 512, rate 0.2, 90 epochs, warm-up over 5, x 0.1 and x 0.01 after 60 and 80."""
    return Protocol(
        dataset="places_lt",
        fallbacks=("imagenet_lt", "cifar10_lt"),
        blocks=dict(
            data=dict(
                source="list",
                name="places_lt",
                path=root,
                loader="host",
                profile="none",
                crop_padding=0,
                flip=True,
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
                photos=dict(
                    size=224,
                    resize=256,
                    train_list=f"{root}/Places_LT_train.txt",
                    validation_list=f"{root}/Places_LT_val.txt",
                    test_list=f"{root}/Places_LT_test.txt",
                ),
            ),
            model=dict(name="resnet152"),
            eval=dict(every_epochs=10),
            precision="bf16",
            log=dict(tensorboard=True),
        ),
        epochs=90,
        first_epochs=90,
        batch_size=512,
        optimizer=dict(
            learning_rate=0.2,
            weight_decay=5e-4,
            schedule="step",
            warmup_percent=100 * 5 / 90,
            boundaries_percent=(100 * 60 / 90, 100 * 80 / 90),
            decay_factors=(0.1, 0.01),
        ),
        init_from=f"{root}/resnet152.pth",
        last_block="layer4_2",
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,DIR; without a folder it is data/places_lt."""
    recipe, root = row_and_folder(arguments, "data/places_lt")
    return recipe(protocol(root))
