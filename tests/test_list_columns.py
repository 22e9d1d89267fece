"""Lists from other programs: line ends, encodings, and tables of columns, which are told apart from lists."""

import json
import re

import photographs
import pytest

from gcl_jax.data import class_counts, entries, lists
from gcl_jax.errors import UserError

LINES = ["a b/1.jpg 0", "c/2.jpg 12", "l\u00fccke/\u5b57.png 3"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r\n", "\t\n", " \r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_line_ends_and_encodings_of_every_system_are_read(tmp_path, end, encoding):
    (tmp_path / "train.txt").write_bytes((end.join(LINES) + end).encode(encoding))
    found = lists.read_list(str(tmp_path / "train.txt"), "train_list")
    assert found.paths == ("a b/1.jpg", "c/2.jpg", "l\u00fccke/\u5b57.png")
    assert found.labels.tolist() == [0, 12, 3]
    assert not found.problems


def test_a_line_end_is_one_wherever_a_part_ends(monkeypatch):
    text = "".join(f"{'x' * (i % 7)}/1.jpg {i}\r\n" for i in range(200))
    monkeypatch.setattr(entries, "CHUNK", 3)
    found = entries.parse(text, "train.txt")
    assert found.labels.tolist() == list(range(200))
    assert found.numbers == tuple(range(1, 201))


@pytest.mark.parametrize("folder", ["run[1]", "a*b", "q?", "{x,y}", "[!a]", "[]", "line\nbreak", "%41"])
def test_every_folder_of_a_list_is_taken_by_its_name(tmp_path, folder):
    root = tmp_path / folder / "root"
    for i in range(4):
        photographs.write(root / folder / f"{i}[0].jpg")
    photographs.write(root / "a9b" / "0[0].jpg")  # what a pattern would find
    files = {}
    for part, numbers in {"train": (0, 1), "test": (2, 3)}.items():
        files[f"{part}_list"] = tmp_path / folder / f"{part}.json"
        blocks = {
            "images": [{"id": i, "file_name": f"{folder}/{i}[0].jpg"} for i in numbers],
            "annotations": [{"image_id": i, "category_id": i % 2} for i in numbers],
            "categories": [{"id": i, "name": str(i)} for i in range(2)],
        }
        files[f"{part}_list"].write_text(json.dumps(blocks))
    source = lists.read("mine", str(root), photographs.keys(**files))
    assert source.test.images.encoded(1) == (root / folder / "3[0].jpg").read_bytes()


TABLES = {
    "a/x.jpg, 0, 0\nb/y.jpg, 1, 0\n": r"3 columns with commas .*\(such as a/x\.jpg, 0, 0\).*awk -F',' '\{print \$1",
    "path, fine, coarse\na/x.jpg, 0, 0\n": r"3 columns with commas .*\(path, fine, coarse\).*'NR>1 \{print \$1",
    "a/x.jpg,0\nb y/z.png,1": "2 columns with commas",
    "a/x.jpg,0\rb/z.png,1\r": "2 columns with commas",
    "x.jpg, 42, 31": "3 columns with commas",
    "id;label;path\n7;0;a/x.JPEG\n8;1;b/y.jpg": r"3 columns with semicolons .*\(id, label, path\).*\{print \$3, \$1\}",
    "id\tpath\tlabel\n1\tq/x.jpeg\t4\n2\ty.jpg\t5": r"3 columns with tabs .*-F'\\t' 'NR>1 \{print \$2, \$3\}",
    "f|l\na/b.jpg|1": "2 columns with bars",
    "a/x.jpg 3 1\nb/y.jpg 2 0\n": r"3 columns with spaces .*awk '\{print \$1, \$2\}'",
    "path,label\nimg1,3\nimg2,4": r"2 columns with commas between them \(path, label\)",
    "a/x.jpg,Apple\nb/y.jpg,Pear": r"2 columns with commas .*numbered 0\.\.C-1, into such a list$",
    '"a, b/x.jpg",0,1\n"c.jpg",1,2': r"3 columns with commas .*such as a, b/x\.jpg, 0, 1\).*into such a list$",
}


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_is_refused_with_its_columns_and_the_cure(tmp_path, text, encoding):
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    with pytest.raises(
        UserError, match=rf"^config\.data\.photos\.test_list: train\.csv is a table of {TABLES[text]}"
    ) as error:
        lists.read_list(str(tmp_path / "train.csv"), "test_list")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "Smith, John/1.jpg 0\nSmith, John/2.jpg 1", "a;b/1.jpg 0\na;c/1.jpg 1", "a|b.jpg 3",
        "my dir/img1 0\nmy dir/img2 1",
        "b c/2 3.jpg\t12\na.jpg\t0", "1 2 3.jpg 4\n5 6 7.jpg 8", "img1 3\nimg2 4", "dir,3 4\ndir,4 5", 'say "a".jpg 1',
    ],
)  # fmt: skip
def test_a_list_is_no_table_whatever_its_paths(text):
    found = entries.parse(text, "train.txt")
    assert found.paths == tuple(line.rsplit(maxsplit=1)[0] for line in text.split("\n"))
    assert not found.problems


@pytest.mark.parametrize(
    "label", ["-1", "1.0", "1e3", "+1", "0x1", "1_000", str(2**31), str(10**21), "9" * 5000, "\u0661", "nan", "''"]
)
def test_a_label_that_is_none_is_a_problem_of_one_line(label):
    (problem,) = entries.parse(f"a/1.jpg 0\nb/2.jpg {label}", "train.txt").problems
    assert str(problem).startswith(f"train.txt, line 2: bad label: {label[:20]!r} of b/2.jpg")
    assert len(str(problem)) < 150


@pytest.mark.parametrize(
    "counts",
    ["[1, -5]", "[1, 0]", "[1, 1.5]", "[1, true]", '[1, "5"]', f"[1, {2**31}]", f"[1, {10**21}]", f"[1, {'9' * 400}]",
     "[1, NaN]", "[1, 1e999]", "[1, null]", "[1, [1]]"],
)  # fmt: skip
def test_a_count_that_is_none_is_named_in_one_line(tmp_path, counts):
    (tmp_path / "counts.json").write_text(counts)
    with pytest.raises(UserError, match=r"^config\.data\.photos\.counts: class 1 has .* a number from 1 to") as error:
        class_counts.read(str(tmp_path / "counts.json"))
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("counts", ["{}", "[]", "7", "[1,", "[" * 100_000, "[" + "9" * 5000 + "]", "", "\0\0\0"])
def test_what_is_no_list_of_counts_is_named_in_one_line(tmp_path, counts):
    (tmp_path / "counts.json").write_text(counts)
    with pytest.raises(
        UserError, match=r"^config\.data\.photos\.counts: .*counts\.json (is no JSON|must hold)"
    ) as error:
        class_counts.read(str(tmp_path / "counts.json"))
    assert "\n" not in str(error.value)


def annotated(**changed):
    blocks = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "annotations": [{"image_id": i, "category_id": i - 1} for i in (1, 2)],
        "categories": [{"id": i, "name": "ab"[i]} for i in (0, 1)],
    }
    return json.dumps(blocks | changed)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"annotations": [{"image_id": 1, "category_id": 0}, {"image_id": 2, "category_id": 10**400}]},
         r"image 2: bad label: 2\.jpg has category 10000000000000000000\.\.\. \(of 401 digits\)$"),
        ({"annotations": [{"image_id": 1, "category_id": 0}, {"image_id": 2, "category_id": -(10**21)}]},
         r"image 2: bad label: 2\.jpg has category -1000000000000000000\.\.\. \(of 23 digits\)$"),
        ({"annotations": [{"image_id": 1, "category_id": 0}, {"image_id": 2, "category_id": 1.5}]},
         "annotation 2: malformed"),
        ({"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 10**400, "file_name": "2.jpg"}]},
         "image 2: malformed: 2.jpg has no"),
        ({"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "\ud800.jpg"}]},
         "image 2: name that is not UTF-8"),
    ],
)  # fmt: skip
def test_numbers_of_annotations_have_a_range(tmp_path, changed, problem):
    (tmp_path / "a.json").write_text(annotated(**changed))
    found = lists.read_list(str(tmp_path / "a.json"), "train_list")
    assert found.paths == ("1.jpg",)
    assert re.search(problem, "\n".join(map(str, found.problems)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotated(categories=[{"id": 10**400, "name": "a"}]),
         r"run from 10000000000000000000\.\.\. \(of 401 digits\) to"),
        (annotated(categories=[{"id": 0, "name": "\udc80"}]), "has no id and name of its own"),
        (annotated().replace('"id": 1,', f'"id": {"9" * 5000},', 1), "is no JSON .*4300 digits"),
        (annotated()[:-1], "is no JSON"),
        (annotated() + "]", "is no JSON .something follows"),
        (annotated()[:-1] + ', "images": []}', "has 'images' twice"),
        (annotated().replace('"annotations": [', '"annotations": [,'), "is no JSON .Expecting value at character"),
    ],
)  # fmt: skip
def test_what_is_no_annotation_file_is_one_line(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"^config\.data\.photos\.train_list: a\.json.*{message}") as error:
        lists.read_list(str(tmp_path / "a.json"), "train_list")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
