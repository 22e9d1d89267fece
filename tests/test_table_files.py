"""The files of a table: those of another command are kept."""

import pytest

from gcl_jax.errors import UserError
from gcl_jax.table import files


def test_tables_of_another_command_are_kept(tmp_path):
    def write(command, number):
        texts = {".md": f"# Table 1\n\n    {command}\n\n{number}\n", ".csv": number, "_differences.csv": number}
        files.write(tmp_path, "table1", f"    {command}", texts)

    write("table1 --seeds=1", "1")
    write("table1 --seeds=1", "2")
    write("table1 --seeds=1 --ratio=10", "3")
    write("table1 --seeds=1", "4")
    kept = {file.name: file.read_text() for file in tmp_path.iterdir() if file.suffix == ".csv"}
    assert kept == {f"table1{n}{end}": number for n, number in (("", "4"), ("_1", "2"), ("_2", "3"))
                    for end in (".csv", "_differences.csv")}  # fmt: skip
    assert "--ratio=10" in (tmp_path / "table1_2.md").read_text()

    (tmp_path / "table3.md").mkdir()
    with pytest.raises(UserError, match=r"table3\.md could not be written"):
        files.write(tmp_path, "table3", "", {".md": ""})
