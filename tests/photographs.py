"""Small photographs on disk, for tests of sources that read files."""

from PIL import Image


def write(path, mode="RGB", size=(8, 6), **options):
    """An image file of one colour; its format goes by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return path


def keys(**given):
    """config.data.photos as a mapping, with what is ``given`` changed."""
    from gcl_jax.config import PHOTOS

    return PHOTOS | {key: str(value) if key.endswith(("list", "counts")) else value for key, value in given.items()}
