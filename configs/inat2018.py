"""iNaturalist 2018 (437,513 images, 1000 to 2 a class), ResNet-50.

    python -m gcl_jax.main --config=configs/inat2018.py:gcl,DIR --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/; DIR holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt, which is the test set. About 10 hours a row at 2,500 training images a second, OLTR 13: an
estimate, not measured.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_folder


def protocol(root: str) -> Protocol:
    """200 epochs, batch 256, rate 0.1 under a cosine with warm-up over 5 epochs; the same first stage for all rows.

    So the authors say theirs were; they published code for Places-LT alone: batch, rate and schedule are our filling.
    """
    return Protocol(
        dataset="inat2018",
        fallbacks=("imagenet_lt", "cifar10_lt"),
        blocks=dict(
            data=dict(
                source="list",
                name="inat2018",
                path=root,
                loader="host",
                profile="none",
                crop_padding=0,
                flip=True,
                mean=(0.466, 0.471, 0.380),
                std=(0.195, 0.194, 0.192),
                photos=dict(
                    size=224,
                    resize=256,
                    train_list=f"{root}/iNaturalist18_train.txt",
                    test_list=f"{root}/iNaturalist18_val.txt",
                ),
            ),
            model=dict(name="resnet50"),
            eval=dict(every_epochs=10),
            precision="bf16",
            log=dict(tensorboard=True),
        ),
        epochs=200,
        first_epochs=200,
        batch_size=256,
        optimizer=dict(learning_rate=0.1, weight_decay=1e-4, schedule="cosine", warmup_percent=2.5),
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,DIR; without a folder it is data/inat2018."""
    recipe, root = row_and_folder(arguments, "data/inat2018")
    return recipe(protocol(root))
