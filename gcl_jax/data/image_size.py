"""The size of an image as its header has it, before memory is allocated for its pixels."""

MAX_PIXELS = 178_956_970  # beyond it Pillow warns of a decompression bomb
MAX_BYTES = 2**31 - 1  # of a file


def too_large(encoded: bytes) -> str:
    """Why the image ``encoded`` is too large to be decoded; "" where it is not, or its header does not tell.

    >>> too_large(b"GIF89a" + bytes([0xFF, 0xFF, 0xFF, 0xFF]))
    'too large: 65,535 x 65,535 pixels, of 178,956,970 at most: make it smaller'
    """
    width, height = size(encoded)
    if width * height <= MAX_PIXELS:
        return ""
    return f"too large: {width:,} x {height:,} pixels, of {MAX_PIXELS:,} at most: make it smaller"


def size(encoded: bytes) -> tuple[int, int]:
    """(width, height) as the header of a JPEG, PNG, GIF, BMP or WebP has it; (0, 0) where it has none."""
    little, big = (lambda a, b, order=order: int.from_bytes(encoded[a:b], order) for order in ("little", "big"))
    if encoded.startswith(b"\xff\xd8"):
        return _of_jpeg(encoded)
    if encoded.startswith(b"\x89PNG"):
        return big(16, 20), big(20, 24)
    if encoded.startswith(b"GIF8"):
        return little(6, 8), little(8, 10)
    if encoded.startswith(b"BM"):
        if little(14, 18) == 12:  # OS/2's header
            return little(18, 20), little(20, 22)
        width, height = (abs(int.from_bytes(encoded[i : i + 4], "little", signed=True)) for i in (18, 22))
        return width, height
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        kind = encoded[12:16]
        if kind == b"VP8X":
            return little(24, 27) + 1, little(27, 30) + 1
        if kind == b"VP8L":
            return (little(21, 25) & 0x3FFF) + 1, (little(21, 25) >> 14 & 0x3FFF) + 1
        if kind == b"VP8 ":
            return little(26, 28) & 0x3FFF, little(28, 30) & 0x3FFF
    return 0, 0


def _of_jpeg(encoded: bytes) -> tuple[int, int]:
    """The size in the frame header, which is found by skipping the segments before it."""
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without a length
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(encoded[place + i : place + i + 2], "big") for i in (5, 7))
            return width, height
        else:
            place += 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
    return 0, 0
