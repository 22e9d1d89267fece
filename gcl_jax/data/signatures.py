"""Recognizing, by its first bytes, a file that is named like an image and cannot be read as one; and what to do."""

CONVERT = "convert it to JPEG or PNG"
COPY_AGAIN = "copy or download it again"

# Images of other formats: (offset, bytes there, name).
IMAGES = (
    (0, b"II*\0", "TIFF, or a camera's raw image"),
    (0, b"MM\0*", "TIFF, or a camera's raw image"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"IIU\0", "a camera's raw image"),  # Panasonic
    (0, b"IIRO", "a camera's raw image"),  # Olympus
    (0, b"IIRS", "a camera's raw image"),
    (0, b"MMOR", "a camera's raw image"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw image"),
    (0, b"FOVb", "a camera's raw image"),  # Sigma
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"8BPB", "a Photoshop file"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"qoif", "QOI"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"FLIF", "FLIF"),
    (0, b"DDS ", "DDS"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"SIMPLE  =", "FITS"),
    (128, b"DICM", "DICOM"),
    (0, b"%!PS", "PostScript"),
    (0, b"%PDF", "PDF"),
    *((0, b"P" + digit + end, "PNM") for digit in (b"1", b"2", b"3", b"4", b"5", b"6", b"7") for end in (b"\n", b" ")),
)
# Brands of ISO's container, which photographs and videos have.
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "a camera's raw image",
}
VIDEO = "a video"
OTHER_FILES = (
    (8, b"AVI ", VIDEO, "take it out"),
    (8, b"WAVE", "sound", "take it out"),
    (0, b"\x1a\x45\xdf\xa3", VIDEO, "take it out"),  # Matroska, WebM
    (0, b"\0\0\x01\xba", VIDEO, "take it out"),  # MPEG
    (0, b"\0\0\x01\xb3", VIDEO, "take it out"),
    (0, b"FLV\x01", VIDEO, "take it out"),
    (0, b"OggS", "sound or a video", "take it out"),
    (0, b"ID3", "sound", "take it out"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", "gzip's", "unpack it"),
    (0, b"Rar!", "a RAR archive", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (0, b"\x93NUMPY", "a NumPy array", "write it as PNG"),
    (0, b"\x89HDF", "HDF5", "write its images as PNG"),
    (0, b"\0\x05\x16\x07", "macOS's notes on another file", "take it out"),
    (0, b"version https://git-lfs.github.com/spec/", "the pointer of Git LFS to an image", "run `git lfs pull`"),
)
BEGINNING = 4096  # bytes that are looked at


def refusal(encoded: bytes) -> str:
    """Why ``encoded`` cannot be read as an image, as far as its first bytes tell; "" where it may be readable.

    >>> refusal(b"\\0\\0\\0\\x18ftypheic\\0\\0\\0\\0mif1heic")
    'it is HEIC: convert it to JPEG or PNG'
    >>> refusal(b"<!DOCTYPE html><title>404")
    'not an image (it is a web page): copy or download it again'
    """
    if not encoded:
        return "empty file"
    beginning = encoded[:BEGINNING]
    if beginning[4:8] == b"ftyp":
        return _iso(beginning)
    for where, signature, name in IMAGES:
        if beginning.startswith(signature, where):
            return f"it is {name}: {CONVERT}"
    for where, signature, name, hint in OTHER_FILES:
        if beginning.startswith(signature, where):
            return f"not an image (it is {name}): {hint}"
    if not any(beginning):
        return "" if any(encoded) else f"not an image (all its bytes are zero): {COPY_AGAIN}"
    return _text(beginning)


def _iso(beginning: bytes) -> str:
    brands = [beginning[8:12], *(beginning[i : i + 4] for i in range(16, int.from_bytes(beginning[:4], "big"), 4))]
    if brands[0] in (b"mif1", b"msf1") and any(BRANDS.get(brand) == "AVIF" for brand in brands[:32]):
        return f"it is AVIF: {CONVERT}"
    if brands[0] in BRANDS:
        return f"it is {BRANDS[brands[0]]}: {CONVERT}"
    return f"not an image (it is {VIDEO}): take it out"


def _text(beginning: bytes) -> str:
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return f"not an image (it is a web page): {COPY_AGAIN}"
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return f"it is SVG: {CONVERT}"
    if text.startswith(b"<?xml"):
        return f"not an image (it is XML): {COPY_AGAIN}"
    if text.startswith((b"{", b"[")):
        return f"not an image (it is JSON or other text): {COPY_AGAIN}"
    if b"/annex/objects/" in text and b"\n" not in text.strip():
        return "not an image (it is the pointer of git-annex to one): run `git annex get`"
    return ""


def explained(encoded: bytes, reason: str) -> str:
    """``reason``, why a decoder has refused ``encoded``, which begins like an image; with what to do, if known.

    >>> explained(b"GIF89a", "no color map")
    'cut off: copy or download it again (no color map)'
    """
    return f"cut off: {COPY_AGAIN} ({reason})" if is_cut_off(encoded) else reason


def is_cut_off(encoded: bytes) -> bool:
    """Whether the end of a JPEG, PNG, GIF, BMP or WebP is missing, of one that could not be decoded."""
    if encoded.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in encoded[-64:]  # cameras put a few bytes behind it
    if encoded.startswith(b"\x89PNG"):
        return b"IEND" not in encoded[-64:]
    if encoded.startswith(b"GIF8"):
        return not encoded.endswith(b";")
    if encoded.startswith(b"BM"):
        return len(encoded) < int.from_bytes(encoded[2:6], "little")
    if encoded.startswith(b"RIFF"):
        return len(encoded) < 8 + int.from_bytes(encoded[4:8], "little")
    return False
