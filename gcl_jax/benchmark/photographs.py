"""Varied photographs of ImageNet's size and weight, re-encoded from a folder of real ones, for loaders to read."""

import hashlib
import io
import tempfile
from pathlib import Path

from gcl_jax.errors import UserError
from gcl_jax.replacing import replacing

WIDTH, HEIGHT, SIZE, BATCH = 500, 375, 224, 64
LEAST, MOST = 75_000, 110_000  # bytes of a file
NUMBER, IMAGES_PER_UNIT = 512, 2048
MEAN, STD, JITTER = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.4, 0.4, 0.4)


def prepare(root: str) -> list[str]:
    """Paths of `NUMBER` JPEGs of 500 x 375 pixels and 75 to 110 KB, made of those below ``root`` once and then kept.

    Varied, because a constant image would be decoded from a cache; images that no quality brings to that size are left
    out. Raises UserError if there are too few below ``root``.
    """
    sources = sorted(p for p in Path(root).expanduser().rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if len(sources) < NUMBER:
        raise UserError(f"--root={root} holds {len(sources)} JPEG files; {NUMBER} different ones are needed")
    key = hashlib.sha256("".join(f"{path}{path.stat().st_size}" for path in sources).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"gcl_jax_benchmark_{key}"
    paths = [folder / f"{i:03}.jpg" for i in range(NUMBER)]
    if not paths[-1].exists():
        folder.mkdir(exist_ok=True)
        spread = sorted(range(len(sources)), key=lambda i: i * NUMBER % len(sources))  # through all classes
        encoded = filter(None, (_encode(sources[i]) for i in spread))
        for path in paths:
            content = next(encoded, None)
            if content is None:
                raise UserError(f"--root={root} holds too few images of enough detail: {NUMBER} are needed")
            with replacing(path) as new:
                new.write_bytes(content)
    return [str(path) for path in paths]


def _encode(source):
    from PIL import Image

    image = Image.open(source).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    low, high = 30, 100
    while True:  # the size rises with the quality
        quality = (low + high) // 2
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        if LEAST <= stream.tell() <= MOST or low == high:
            break
        low, high = (quality + 1, high) if stream.tell() < LEAST else (low, quality)
    return stream.getvalue() if LEAST <= stream.tell() <= MOST else None
