"""Lists and annotations of many images: time and memory grow with the text, and JSON is the same in any parts."""

import io
import json
import time
import tracemalloc

import numpy as np
import pytest

from gcl_jax.data import annotations, entries, json_stream, lists

IMAGES = 50_000  # a twentieth of what is promised: 5 s and 300 MB for a million
SECONDS, BYTES = 5 / 20, 300e6 / 20


def write(folder, kind):
    paths = [f"train_val2018/Plantae/{i % 400}/{i:032x}.jpg" for i in range(IMAGES)]
    if kind == "text":
        text = "".join(f"{path} {i % 400}\n" for i, path in enumerate(paths))
    else:
        more = (
            {"license": 3, "rights_holder": "Some Body \u00a9 \U0001f33f", "height": 600} if kind == "full JSON" else {}
        )
        text = json.dumps(
            {
                "images": [{"id": i, "file_name": path} | more for i, path in enumerate(paths)],
                "annotations": [{"image_id": i, "category_id": i % 400} for i in range(IMAGES)],
                "categories": [{"id": i, "name": f"species {i}"} for i in range(400)],
            },
            ensure_ascii=False,
        )
    file = folder / ("train.txt" if kind == "text" else "train.json")
    file.write_text(text, encoding="utf-8")
    return {"train_list": str(file), "test_list": str(file), "validation_list": ""}


@pytest.mark.parametrize("kind", ["text", "JSON", "full JSON"])
def test_a_million_images_take_seconds(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(json_stream, "CHUNK", json_stream.CHUNK // 20)
    photos = write(tmp_path, kind)
    start = time.process_time()
    found = lists.read_list(photos["train_list"], "train_list")
    assert time.process_time() - start < 4 * SECONDS  # this machine may be slow
    assert (len(found.paths), found.labels[-1]) == (IMAGES, (IMAGES - 1) % 400)
    assert len({*found.paths}) == IMAGES
    tracemalloc.start()
    try:
        lists.read_list(photos["train_list"], "train_list")
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("alike", [0, 1, 1000])
def test_repeated_paths_are_found_among_many(tmp_path, alike):
    text = "".join(f"{i}//x.jpg 0\n" for i in range(2000)) + "".join(f"{i}/./x.jpg 0\n" for i in range(alike))
    found = entries.parse(text, "train.txt")
    other = entries.parse("7/x.jpg 0\nnew.jpg 0\n", "test.txt")
    start = time.process_time()
    problems = [*lists._duplicates(found, ())]
    assert time.process_time() - start < 0.5
    assert [i for i, _, _ in problems] == [*range(2000, 2000 + alike)]
    assert [(i, what) for i, _, what in lists._duplicates(other, (found,))] == [
        (0, "7/x.jpg stands in train.txt, line 8 already")
    ]


STRANGE = {
    "info": {"images": [1, 2], "a": 'text with } and ],"images": ['},
    "images": [{"id": 1, "file_name": 'a}],{"'}, {"id": 2, "file_name": "b\\"}, {"x": [{"y": {}}]},
               7, "z", None, [[]], {}],
    "annotations": [],
    "licenses": -1.5e-3,
    "categories": [{"id": i, "name": "\u5b57" * 30} for i in range(9)],
}  # fmt: skip


@pytest.mark.parametrize("part", [1, 2, 7, 50, 10_000])
@pytest.mark.parametrize("indent", [None, 1])
def test_json_is_the_same_in_parts_of_any_size(monkeypatch, part, indent):
    monkeypatch.setattr(json_stream, "CHUNK", part)
    for ascii_only in (True, False):
        text = json.dumps(STRANGE, indent=indent, ensure_ascii=ascii_only) + "\n "
        found = {}
        for key, some in json_stream.lists(io.StringIO(text).read, ("images", "annotations", "categories", "licenses")):
            found.setdefault(key, []).extend(some)
        assert found == {key: STRANGE[key] for key in ("images", "annotations", "categories")}


@pytest.mark.parametrize("part", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2", '{"a" 1}', '{"a": 1,}', '{"a": [1,]}', '{"a": [1 2]}', '{"a": [1]', '{"a": tru}', '{"a": "x}',
     '{"a": 1} 2', '{1: 2}', '{"a": [{"b": 1}, {"b": 1]}', '{"a": [1], "a": [2]}', "{'a': 1}", "nul", '{"a": [\\u00]}'],
)  # fmt: skip
def test_what_is_no_json_is_told_at_any_size(monkeypatch, text, part):
    monkeypatch.setattr(json_stream, "CHUNK", part)
    with pytest.raises(ValueError, match=r"at character \d+|twice"):
        list(json_stream.lists(io.StringIO(text).read, ("a",)))


def test_annotations_join_whatever_order_and_kind_their_ids_have():
    """Against the rule in words: the one category of each image, by id, in the order of the images."""
    random = np.random.default_rng(0)
    ids = [*range(40), *(f"x{i}" for i in range(40)), -1, 2**70, "7", 10**400]
    category = {image: int(random.integers(0, 5)) for image in ids}
    rows = [{"image_id": ids[i], "category_id": category[ids[i]]} for i in random.permutation(len(ids))]
    images = [{"id": ids[i], "file_name": f"{i}.jpg"} for i in random.permutation(len(ids))]
    rows += [{"image_id": 3, "category_id": category[3]}, {"image_id": "x3", "category_id": category["x3"] + 1}]
    rows = [row for row in rows if row["image_id"] != "7"]
    text = json.dumps(
        {"annotations": rows, "images": images, "categories": [{"id": i, "name": str(i)} for i in range(9)]}
    )
    found = annotations.parse(text, "a.json")
    good = [one for one in images if one["id"] not in ("x3", "7")]
    assert found.paths == tuple(one["file_name"] for one in good)
    assert found.labels.tolist() == [category[one["id"]] for one in good]
    assert [images[number - 1]["file_name"] for number in found.numbers] == [*found.paths]
    told = sorted(problem.what.split(" ", 1)[1] for problem in found.problems)
    assert told == ["has no annotation", "has several categories"]
