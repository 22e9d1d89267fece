"""Files named like images that are none, or none that is read: what they are, the cure, and never a hang."""

import io
import os
import socket
import struct
import threading
import zlib

import numpy as np
import photographs
import pytest
from PIL import Image
from test_inspect import arguments, good
from test_photos import encoded, picture

from gcl_jax import predict
from gcl_jax.data import corrupt, folder, image_kind, image_size, on_disk, pillow, signatures
from gcl_jax.data.__main__ import main
from gcl_jax.errors import UserError

decode = pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")

good = good  # a fixture


def saved(kind, **options):
    return encoded(picture(), kind, **options)


def iso(brand, *others):
    brands = brand + b"\0\0\0\0" + b"".join(others)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"\0\0\0\x08mdat" + bytes(99)


FOREIGN = {
    "heic": (iso(b"heic", b"mif1", b"heic"), "it is HEIC: convert it to JPEG"),
    "heic of an iPhone": (iso(b"heix", b"mif1"), "it is HEIC: convert it to JPEG"),
    "heif": (iso(b"mif1", b"mif1", b"heic"), "it is HEIC: convert it to JPEG"),
    "avif": (saved("AVIF"), "it is AVIF: convert it to JPEG"),
    "avif under HEIF's brand": (iso(b"mif1", b"miaf", b"avif"), "it is AVIF: convert it to JPEG"),
    "tiff": (saved("TIFF"), "it is TIFF, or a camera's raw image: convert it to JPEG"),
    "tiff of the other order": (b"MM\0*" + bytes(99), "it is TIFF, or a camera's raw image: convert it to JPEG"),
    "Canon's raw": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "raw image: convert it to JPEG"),
    "Canon's newer raw": (iso(b"crx ", b"isom"), "it is a camera's raw image: convert it to JPEG"),
    "Fuji's raw": (b"FUJIFILMCCD-RAW 0201" + bytes(99), "it is a camera's raw image: convert it to JPEG"),
    "jxl": (b"\xff\x0a" + bytes(99), "it is JPEG XL: convert it to JPEG"),
    "jxl in a container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "it is JPEG XL: convert it to JPEG"),
    "jpeg 2000": (saved("JPEG2000"), "it is JPEG 2000: convert it to JPEG"),
    "psd": (b"8BPS\0\x01" + bytes(99), "it is a Photoshop file: convert it to JPEG"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is SVG: convert it to JPEG"),
    "svg with a head": (b"<?xml version='1.0'?>\n<svg width='9'/>", "it is SVG: convert it to JPEG"),
    "icon": (saved("ICO"), "it is an icon: convert it to JPEG"),
    "pdf": (saved("PDF"), "it is PDF: convert it to JPEG"),
    "pnm": (saved("PPM"), "it is PNM: convert it to JPEG"),
    "mp4": (iso(b"isom", b"mp41"), "not an image (it is a video): take it out"),
    "quicktime": (iso(b"qt  "), "not an image (it is a video): take it out"),
    "webm": (b"\x1a\x45\xdf\xa3" + bytes(99), "not an image (it is a video): take it out"),
    "avi": (b"RIFF\x99\0\0\0AVI LIST" + bytes(99), "not an image (it is a video): take it out"),
    "web page": (b"\n<!DOCTYPE html><html>404", "not an image (it is a web page): copy or download it again"),
    "answer of a server": (b'{"error": "not found"}', "not an image (it is JSON or other text)"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "not an image (it is XML)"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "run `git lfs pull`"),
    "git annex": (b"/annex/objects/SHA256E-s9--4d7a.jpg\n", "run `git annex get`"),
    "zip": (b"PK\x03\x04" + bytes(99), "not an image (it is a ZIP archive): unpack it"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02" + bytes(99), "macOS's notes on another file"),
    "empty": (b"", "empty file"),
    "zeros": (bytes(9999), "not an image (all its bytes are zero): copy or download it again"),
    "half a jpeg": (saved("JPEG")[:-2000], "cut off: copy or download it again"),
    "the head of a jpeg": (saved("JPEG")[:300], "cut off: copy or download it again"),
    "twelve bytes of a jpeg": (saved("JPEG")[:12], "cut off: copy or download it again"),
    "the head of a png": (saved("PNG")[:30], "cut off: copy or download it again"),
    "half a png": (saved("PNG")[:-100], "cut off: copy or download it again"),
    "half a gif": (encoded(picture().convert("P"), "GIF")[:-500], "cut off: copy or download it again"),
    "half a bmp": (saved("BMP")[:-500], "cut off: copy or download it again"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_it_is_and_the_cure_are_told_by_every_reader(kind):
    given, told = FOREIGN[kind]
    assert told in decode.problem(given)
    assert told in image_kind.identify(given).reason
    assert "\n" not in decode.problem(given)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_what_is_read_is_not_refused(kind):
    given = saved(kind)
    assert signatures.refusal(given) == decode.problem(given) == image_kind.identify(given).reason == ""
    assert not signatures.is_cut_off(given)
    assert image_size.size(given) == picture().size


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def resized_jpeg(width, height, **options):
    """A JPEG whose frame header says so."""
    content = saved("JPEG", **options)
    start = next(found for kind in (b"\xff\xc0\0\x11", b"\xff\xc2\0\x11") if (found := content.find(kind)) > 0)
    return content[: start + 5] + struct.pack(">HH", height, width) + content[start + 9 :]


def bmp(width, height):
    return saved("BMP")[:18] + struct.pack("<ii", width, height) + saved("BMP")[26:]


def webp(kind, width, height):
    size = {
        b"VP8X": bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3],
        b"VP8L": b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF),
    }[kind]
    body = b"WEBP" + kind + struct.pack("<I", len(size)) + size + bytes(99)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (png(60_000, 60_000), "60,000 x 60,000"),
        (png(2**31 - 1, 2**31 - 1), "2,147,483,647 x 2,147,483,647"),
        (png(13_378, 13_378), "13,378 x 13,378"),
        (resized_jpeg(65_500, 65_500), "65,500 x 65,500"),
        (resized_jpeg(20_000, 60_000, progressive=True), "20,000 x 60,000"),
        (resized_jpeg(60_000, 20_000, exif=b"Exif\0\0" + b"\xff\xc0" * 50), "60,000 x 20,000"),
        (b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(99), "65,535 x 65,535"),
        (bmp(30_000, -30_000), "30,000 x 30,000"),
        (webp(b"VP8X", 16_000_000, 16), "16,000,000 x 16"),
        (webp(b"VP8L", 16_384, 16_384), "16,384 x 16,384"),
        (webp(b"VP8 ", 16_383, 16_000), "16,383 x 16,000"),
    ],
)
def test_an_image_that_is_too_large_is_refused_by_its_header(given, size):
    told = f"too large: {size} pixels, of 178,956,970 at most: make it smaller"
    assert decode.problem(given) == told
    for whole in (True, False):
        assert image_kind.identify(given, decode=whole).reason == told


def test_large_images_below_the_limit_are_read_without_a_warning(recwarn):
    pillow._quiet.cache_clear()  # pytest forgets filters between tests
    stream = io.BytesIO()
    Image.new("1", (11_000, 9_000)).save(stream, "PNG")  # beyond Pillow's warning
    assert image_kind.identify(stream.getvalue(), decode=False).reason == ""
    assert not recwarn.list


def test_all_are_named_in_one_report(tmp_path):
    for i in range(3):
        for name in ("ant", "bee"):
            photographs.write(tmp_path / name / f"{i}.jpg", size=(20, 20))
    (tmp_path / "ant/heic.jpg").write_bytes(FOREIGN["heic"][0])
    (tmp_path / "bee/large.png").write_bytes(png(60_000, 60_000))
    (tmp_path / "bee/page.jpg").write_bytes(FOREIGN["web page"][0])
    keys = photographs.keys(size=16)
    source = folder.read("mine", str(tmp_path), keys)
    with pytest.raises(UserError, match="3 images cannot be decoded") as error:
        corrupt.drop_corrupt(source, "error")
    for line in (
        "ant/heic.jpg: it is HEIC: convert",
        "bee/large.png: too large: 60,000 x",
        "bee/page.jpg: not an image",
    ):
        assert f"{tmp_path}/{line}" in str(error.value)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_only_what_was_decoded_is_counted(good, capsys, number):
    with (good / "train.txt").open("a") as file:
        for i in range(number):
            (good / f"ant/bad{i}.jpg").write_bytes(FOREIGN["heic"][0] if i else b"no image")
            file.write(f"\nant/bad{i}.jpg 0")
    if number:
        with pytest.raises(SystemExit):
            main(arguments(good, "--decode"))
    else:
        main(arguments(good, "--decode"))
    assert f"files       7 of {7 + number} decoded" in capsys.readouterr().out.splitlines()


# Only regular files are read.


def special(kind, path):
    """A file that is none; what has to be kept while it is there."""
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        return listening
    elif kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "terminal":
        path.symlink_to(os.ttyname(os.openpty()[1]))
    return None


@pytest.mark.parametrize("kind", ["FIFO", "socket", "endless device", "terminal"])
def test_what_is_no_regular_file_is_never_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = tmp_path / "a.jpg"
    kept = special(kind, path.relative_to(tmp_path) if kind == "socket" else path)
    found = []

    def read():
        with pytest.raises(OSError, match="no regular file, but a FIFO, a socket or a device"):
            on_disk.read(path)
        found.append("refused")

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert found == ["refused"]
    assert list(on_disk.bad_files(str(tmp_path), ["a.jpg"], allow_outside=True)) == [(0, "no regular file")]
    with pytest.raises(UserError, match=r"a\.jpg is no regular file"):
        list(predict.files([str(path)]))
    del kept


def test_other_trouble_with_a_file_has_its_reason(tmp_path):
    with pytest.raises(OSError, match="no such file"):
        on_disk.read(tmp_path / "none.jpg")
    with pytest.raises(OSError, match="Is a directory"):
        on_disk.read(tmp_path)
    with pytest.raises(OSError, match="null byte"):
        on_disk.read("a\0.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="too large: 1,099,511,627,776 bytes"):
        on_disk.read(tmp_path / "sparse.jpg")
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "good.jpg").write_bytes(content)
    assert on_disk.read(tmp_path / "good.jpg") == content
