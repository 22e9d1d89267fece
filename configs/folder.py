"""Your own photographs, one folder a class, ResNet-18 at 224 pixels.

    python -m gcl_jax.data inspect --config=configs/folder.py:gcl,DIR --decode
    python -m gcl_jax.main --config=configs/folder.py:gcl,DIR --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/; DIR has one folder a class (a fifth of each is then held out as
test), or train/, test/ and, if you like, val/ with one each. Few images? Start from published weights:
--config.representation.init_from=FILE.safetensors (torchvision's names) --config.representation.restore=backbone/
--config.representation.optimizer.learning_rate=0.01.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_folder


def protocol(root: str) -> Protocol:
    """100 epochs, or 100 and then 20 in a stage that re-trains; batches of 64 at rate 0.05, color jitter 0.4."""
    return Protocol(
        dataset="folder",
        fallbacks=("photos_lt", "cifar10_lt"),
        blocks=dict(
            data=dict(
                source="folder",
                name="folder",
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
                    color_jitter=(0.4, 0.4, 0.4),
                ),
            ),
            model=dict(name="resnet18"),
            eval=dict(every_epochs=5),
            checkpoint=dict(every_minutes=10.0),  # few photographs have few steps, of seconds each on a CPU
        ),
        epochs=100,
        first_epochs=100,
        batch_size=64,
        optimizer=dict(
            learning_rate=0.05,
            weight_decay=2e-4,
            schedule="step",
            warmup_percent=5.0,
            boundaries_percent=(80.0, 90.0),
            decay_factors=(0.1, 0.01),
        ),
        second_epochs=20,
        second_learning_rate=0.01,
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,DIR."""
    recipe, root = row_and_folder(arguments)
    return recipe(protocol(root))
