"""ImageNet-LT (115,846 images, 1280 to 5 a class), ResNet-50.

    python -m gcl_jax.main --config=configs/imagenet_lt.py:gcl,DIR --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/; DIR holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 3 hours a row at 2,500 training images a second, OLTR 4: an estimate, not measured.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_folder


def protocol(root: str) -> Protocol:
    """200 epochs, batch 256, rate 0.1 under a cosine with warm-up over 5 epochs; the same first stage for all rows.

    So the authors say theirs were; they published code for Places-LT alone: batch, rate and schedule are our filling.
    """
    return Protocol(
        dataset="imagenet_lt",
        fallbacks=("cifar10_lt",),
        blocks=dict(
            data=dict(
                source="list",
                name="imagenet_lt",
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
                    color_jitter=(0.4, 0.4, 0.4),  # as in Decoupling
                    train_list=f"{root}/ImageNet_LT_train.txt",
                    validation_list=f"{root}/ImageNet_LT_val.txt",
                    test_list=f"{root}/ImageNet_LT_test.txt",
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
        optimizer=dict(learning_rate=0.1, weight_decay=5e-4, schedule="cosine", warmup_percent=2.5),
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,DIR; without a folder it is data/imagenet_lt."""
    recipe, root = row_and_folder(arguments, "data/imagenet_lt")
    return recipe(protocol(root))
