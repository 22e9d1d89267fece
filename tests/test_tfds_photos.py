"""Photographs of TensorFlow Datasets by published lists, on small data sets with the features of the real ones."""

import io
import json
import re
import shutil

import jax
import numpy as np
import photographs
import pytest
from conftest import ROOT
from PIL import Image

from gcl_jax import data, rng
from gcl_jax.data import records, tfds_list
from gcl_jax.data.__main__ import main, parse
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh

tfds = pytest.importorskip("tensorflow_datasets", reason="needs TensorFlow Datasets")
decode = pytest.importorskip("gcl_jax.data.decode")

# For each data set: images of its splits by the names that TFDS stores, and lists by the published paths.
PLACES = [
    "data_256/a/airfield/00000001.jpg", "data_256/a/airfield/00000002.jpg", "data_256/b/bar/00000001.jpg",
    "data_256/a/apartment_building/outdoor/00000001.jpg", "data_256/h/hotel/outdoor/00000001.jpg",
]  # fmt: skip
WORLD = {
    "imagenet2012": {
        "splits": {
            "train": ["n01440764_10026.JPEG", "n01440764_9.JPEG", "n01443537_9.JPEG", "n01443537_10.JPEG"],
            "validation": ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000293.JPEG"],
        },
        "train": ["train/n01443537/n01443537_9.JPEG 1", "train/n01440764/n01440764_10026.JPEG 0"],
        "validation": ["train/n01440764/n01440764_9.JPEG 0"],
        "test": ["val/n01440764/ILSVRC2012_val_00000293.JPEG 0", "val/ILSVRC2012_val_00000001.JPEG 1"],
        "missing": "train/n01443537/n01443537_11.JPEG 1",
    },
    "places365_small": {
        "splits": {"train": PLACES, "validation": ["val_256/Places365_val_00003597.jpg"]},
        "train": [
            "train/apartment_building-outdoor/00000001.jpg 1", "train/airfield/00000002.jpg 0",
            "train/bar/00000001.jpg 2",
        ],
        "validation": ["train/airfield/00000001.jpg 0"],
        "test": ["val/airfield/Places365_val_00003597.jpg 0"],
        "missing": "train/apartment_building/00000001.jpg 1",
    },
    "i_naturalist2018": {
        "splits": {"train": ["3c7eef", "88a1b2", "00ffee"], "validation": ["88a1b3", "d00d1e"]},
        "train": ["train_val2018/Aves/2/00ffee.jpg 1", "train_val2018/Plantae/1/3c7eef.jpg 0"],
        "validation": [],
        "test": ["train_val2018/Aves/2/d00d1e.jpg 1", "train_val2018/Aves/1/88a1b3.jpg 0"],
        "missing": "train_val2018/Aves/1/88a1b9.jpg 0",
    },
}  # fmt: skip
VERSIONS = {"imagenet2012": "5.1.0", "places365_small": "2.1.0", "i_naturalist2018": "1.0.0"}  # of the real ones
LABEL = {"label": tfds.features.ClassLabel(num_classes=9)}
FEATURES = {
    "imagenet2012": {"image": tfds.features.Image(encoding_format="jpeg"), "file_name": tfds.features.Text()},
    "places365_small": {"image": tfds.features.Image(shape=(256, 256, 3)), "filename": tfds.features.Text()},
    "i_naturalist2018": {"id": tfds.features.Text(), "image": tfds.features.Image()},
}


def jpeg(name):
    """A photograph of which no two are alike."""
    pixels = rng.numpy_generator(0, name).integers(0, 256, (8, 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((256, 256)).save(stream, "JPEG")
    return stream.getvalue()


def prepare(name, folder, file_format="array_record"):
    """Write the data set ``name`` of `WORLD`; labels are wrong on purpose."""
    features = tfds.features.FeaturesDict(FEATURES[name] | LABEL)
    (feature,) = FEATURES[name].keys() - {"image"}

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=features)

    def examples(self, names):
        for one in names:
            yield one, {"image": io.BytesIO(jpeg(one)), feature: one, "label": 8}

    def split_generators(self, downloads):
        return {split: self._generate_examples(names) for split, names in WORLD[name]["splits"].items()}

    hooks = {
        "name": name, "VERSION": tfds.core.Version(VERSIONS[name]), "_info": info, "__module__": __name__,
        "_split_generators": split_generators, "_generate_examples": examples,
    }  # fmt: skip
    with tfds.core.registered.skip_registration():
        builder = type("Small", (tfds.core.GeneratorBasedBuilder,), hooks)(data_dir=folder, file_format=file_format)
    builder.download_and_prepare()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS folder with all three."""
    folder = tmp_path_factory.mktemp("tfds")
    for name in WORLD:
        prepare(name, folder)
    return folder


@pytest.fixture(params=WORLD)
def name(request):
    return request.param


def lists_of(name, folder, **more):
    """The lists as files; ``more`` lines for each."""
    found = {}
    for part in ("train", "validation", "test"):
        if lines := WORLD[name][part] + more.get(part, []):
            found[f"{part}_list"] = folder / f"{part}.txt"
            found[f"{part}_list"].write_text("\n".join(lines))
    return photographs.keys(size=32, resize=36, **found)


def tfds_names(name):
    return [one for names in WORLD[name]["splits"].values() for one in names]


def stored(name, path):
    """The name in TFDS of a list's path, spelled out."""
    base = path.rpartition("/")[2]
    if name == "places365_small":
        known = {"airfield": "a/airfield", "bar": "b/bar", "apartment_building-outdoor": "a/apartment_building/outdoor"}
        return f"val_256/{base}" if path.startswith("val/") else f"data_256/{known[path.split('/')[1]]}/{base}"
    return base.removesuffix(".jpg") if name == "i_naturalist2018" else base


@pytest.mark.parametrize("folder", ["run[1]", "[0:2]", "a*b", "q?", "[]", "a[", "{x,y}@2", "line\nbreak", "[a]/[b]"])
def test_every_folder_is_taken_by_its_name(prepared, tmp_path, folder):
    """TFDS takes [..], * and ? in it for a pattern, which here would find another folder or none."""
    decoy = tmp_path / "decoy" / folder.translate(str.maketrans("*?", "xx"))
    (tmp_path / folder).mkdir(parents=True)
    decoy.mkdir(parents=True)
    shutil.copytree(prepared / "imagenet2012", tmp_path / folder / "imagenet2012")
    source = tfds_list.read("imagenet2012", str(tmp_path / folder), lists_of("imagenet2012", tmp_path))
    assert source.train.images.encoded(0)[:2] == b"\xff\xd8"
    with pytest.raises(UserError, match=r"imagenet2012 is not prepared in .*: run tfds") as error:
        tfds_list.read("imagenet2012", str(decoy / "[none]"), lists_of("imagenet2012", tmp_path))
    assert not (decoy / "[none]").exists()
    assert "gcl_jax_" not in str(error.value)


@pytest.mark.parametrize("damage", ["info", "records", "names", "cut records"])
def test_a_damaged_data_set_is_one_line_or_read_anew(prepared, tmp_path, damage):
    shutil.copytree(prepared / "imagenet2012", tmp_path / "imagenet2012")
    (folder,) = (tmp_path / "imagenet2012").iterdir()
    read = lambda: tfds_list.read("imagenet2012", str(tmp_path), lists_of("imagenet2012", tmp_path))  # noqa: E731
    if damage == "names":
        for content in ("7", "[1, 2, 3, 4, 5, 6]", "[" * 100_000, '{"a": 1}'):
            (folder / tfds_list.NAMES).write_text(content)
            assert len(read().train) == 2
        return
    files = [folder / "dataset_info.json"] if damage == "info" else sorted(folder.glob("*array_record*"))
    (folder / tfds_list.NAMES).unlink(missing_ok=True)
    for file in files:
        file.write_bytes(file.read_bytes()[:1000] if damage == "cut records" else b"{")
    with pytest.raises(UserError, match=r"imagenet2012.*(cannot be read|not prepared).*prepare") as error:
        read()
    assert "\n" not in str(error.value)


def test_images_are_found_by_the_lists_names_with_the_lists_labels(name, prepared, tmp_path):
    source = tfds_list.read(name, str(prepared), lists_of(name, tmp_path))
    splits = {"train": source.train, "validation": source.validation, "test": source.test}
    for part, split in splits.items():
        lines = WORLD[name][part]
        if not lines:
            assert split is None
            continue
        assert split.labels.tolist() == [int(line.split()[1]) for line in lines]
        for i, line in enumerate(lines):
            assert split.images.encoded(i) == jpeg(stored(name, line.split()[0]))
    assert source.train.images.shape == (len(WORLD[name]["train"]), 32, 32, 3)


def test_all_entries_that_tfds_lacks_are_reported_together(name, prepared, tmp_path):
    missing = WORLD[name]["missing"]
    lines = {"train": [missing, f"nowhere/0.jpg {missing[-1]}"], "test": [f"val/none.jpg {missing[-1]}"]}
    photos = lists_of(name, tmp_path, **lines)
    with pytest.raises(UserError, match=rf"(?s)^{name}: 3 problems\n3 not in TFDS \(the list is of another") as error:
        tfds_list.read(name, str(prepared), photos)
    for line in (missing, "nowhere/0.jpg", "val/none.jpg"):
        assert line.split()[0] in str(error.value)


def test_batches_are_the_records_decoded(name, prepared, tmp_path):
    dataset = load(name, prepared, lists_of(name, tmp_path))
    loader = data.make_loader("host", dataset, mesh.make_mesh(jax.devices()[:1]), resize=36)
    plan = np.array([[1, 0, 1], [0, 1, 0]], np.int32)

    def crop_noise(stream, row):
        return rng.numpy_generator(0, stream, row).random((3, 1, decode.CROP_NOISE_SIZE), np.float32)

    for step, row in enumerate(loader.rows("train", {"main": plan}, crop_noise)):
        for slot, i in enumerate(plan[step]):
            encoded = jpeg(stored(name, WORLD[name]["train"][i].split()[0]))
            expected = decode.random_resized_crop(encoded, crop_noise("main", step)[slot, 0], 32)
            np.testing.assert_array_equal(row["main"]["image"][slot], expected)
            assert row["main"]["label"][slot] == dataset.splits["train"].labels[i]


def load(name, path, photos, source="tfds_list"):
    return data.load(
        source=source, name=name, path=str(path), profile="none", imbalance_ratio=1.0, subset_seed=0,
        validation_fraction=0.0, photos=photos,
    )  # fmt: skip


def arguments(command, name, path, photos, *more):
    flags = [f"--config.data.photos.{key}={photos[key]}" for key in ("train_list", "test_list", "size", "resize")]
    keys = {"source": "tfds_list", "name": name, "path": path}
    flags += [f"--config.data.{key}={value}" for key, value in keys.items()]
    return [command, f"--config={ROOT}/configs/photos_lt.py:gcl,none", *flags, *more]


def test_they_are_inspected_and_packed(name, prepared, tmp_path, capsys):
    photos = lists_of(name, tmp_path)
    main(arguments("inspect", name, prepared, photos, "--decode"))
    assert capsys.readouterr().out.splitlines()[-1] == "nothing wrong found"
    main(arguments("pack", name, prepared, photos, f"--out={tmp_path / 'out'}"))
    ours, theirs = load(name, tmp_path / "out", photos, "packed"), load(name, prepared, photos)
    for part in ("train", "test"):
        for i in range(len(theirs.splits[part])):
            assert ours.splits[part].images.encoded(i) == theirs.splits[part].images.encoded(i)
        # TFDS's images are no copies of the files of those names, and the pack does not pass for one of them.
        assert ours.splits[part].images.content_digest() == theirs.splits[part].images.content_digest()


def test_an_image_that_is_none_is_skipped(prepared, tmp_path, monkeypatch):
    bad = jpeg("n01443537_9.JPEG")

    def spoilt(record, feature, inner=records.value):
        found = inner(record, feature)
        return b"damaged" if found == bad else found

    monkeypatch.setattr(records, "value", spoilt)
    photos = lists_of("imagenet2012", tmp_path, train=["train/n01443537/n01443537_10.JPEG 1"])
    found = load("imagenet2012", prepared, photos | {"on_bad_image": "skip"})
    assert found.describe()["skipped"] == {"train": 1}
    assert found.splits["train"].labels.tolist() == [0, 1]


def test_names_are_read_once(prepared, tmp_path, monkeypatch):
    folder = shutil.copytree(prepared / "i_naturalist2018", tmp_path / "i_naturalist2018").parent
    file = folder / "i_naturalist2018/1.0.0" / tfds_list.NAMES
    file.unlink(missing_ok=True)
    photos = lists_of("i_naturalist2018", tmp_path)
    first = load("i_naturalist2018", folder, photos)
    assert sorted(json.loads(file.read_text())) == sorted(tfds_names("i_naturalist2018"))
    with monkeypatch.context() as patch:
        patch.setattr(records, "value", lambda *_: pytest.fail("a record is read for its name again"))
        again = tfds_list.read("i_naturalist2018", str(folder), photos)
        assert again.train.images.legacy_digest() == first.splits["train"].images.legacy_digest()
    for damaged in ("[", '["one"]'):
        file.write_text(damaged)
        assert load("i_naturalist2018", folder, photos).fingerprint == first.fingerprint


def test_names_that_cannot_be_kept_are_read_every_time(prepared, tmp_path, capsys):
    (prepared / "imagenet2012/5.1.0" / tfds_list.NAMES).unlink(missing_ok=True)
    in_the_way = prepared / "imagenet2012/5.1.0" / f".{tfds_list.NAMES}.tmp"
    in_the_way.mkdir()
    tfds_list.read("imagenet2012", str(prepared), lists_of("imagenet2012", tmp_path))
    in_the_way.rmdir()
    assert re.search(r"cannot be kept \(.*Is a directory.*\) and are read at every start", capsys.readouterr().out)


def test_what_is_not_prepared_or_not_for_random_access_is_refused(tmp_path):
    photos = lists_of("imagenet2012", tmp_path)
    cure = r"tfds\.builder\('imagenet2012', file_format='array_record'\)\.download_and_prepare\(\)"
    with pytest.raises(UserError, match=rf"imagenet2012 is not prepared in .*: run {cure}"):
        tfds_list.read("imagenet2012", str(tmp_path), photos)
    prepare("imagenet2012", tmp_path / "tfds", file_format="tfrecord")
    with pytest.raises(
        UserError, match=rf"is stored as tfrecord, which cannot be read at random: prepare it with {cure}"
    ):
        tfds_list.read("imagenet2012", str(tmp_path / "tfds"), photos)
    with pytest.raises(UserError, match=r"config\.data\.name.* is 'imagenet' \(did you mean 'imagenet2012'\?\)"):
        tfds_list.read("imagenet", str(tmp_path), photos)


def test_lists_are_needed_and_a_path_is_not(tmp_path):
    photos = lists_of("imagenet2012", tmp_path)
    assert parse(arguments("inspect", "imagenet2012", "", photos))[1].data.path == ""
    with pytest.raises(UserError, match=r"config\.data\.photos\.test_list is empty"):
        parse(arguments("inspect", "imagenet2012", "", photos | {"test_list": ""}))


def test_real_lists_of_places_have_names_of_their_own():
    """No two of the published lists' images have one key, and none of training has one of validation."""
    from conftest import _shared

    from gcl_jax.data import entries

    found = {
        part: entries.parse(_shared(f"data/lt-lists/Places_LT_{part}.txt").read_text(), part).paths
        for part in ("train", "val", "test")
    }
    keys = [tfds_list.folder_and_name(path) for paths in found.values() for path in paths]
    assert len(set(keys)) == len(keys) == 62_500 + 7_300 + 36_500
    # The names as TFDS's archive would have them, of classes with and without a second part.
    names = {key for key in keys if "/" in key}
    for key in sorted(names)[::997]:
        folder, file = key.split("/")
        assert tfds_list.places_in_tfds(f"data_256/{folder[0]}/{folder.replace('-', '/')}/{file}") == key
