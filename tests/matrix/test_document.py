from pathlib import Path
from typing import Any

import pytest

from runner.errors import UsageError
from runner.matrix.document import MOST_PROBLEMS, Document, Position, nearest, read_document, shown


def read(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "m.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(path)


def test_plain_data_of_each_kind(tmp_path: Path) -> None:
    text = "a: 1\nb: 0x10\nc: 1.5\nd: true\ne: ~\nf: '1'\ng: [on, 2001-01-01, 10_000]\nh: {i: {}}\n"
    expected: dict[str, Any] = {
        "a": 1,
        "b": 16,
        "c": 1.5,
        "d": True,
        "e": None,
        "f": "1",
        "g": ["on", "2001-01-01", 10_000],
        "h": {"i": {}},
    }
    assert read(tmp_path, text).data == expected


def test_positions_of_keys_and_values(tmp_path: Path) -> None:
    document = read(tmp_path, "# first\na: 1\nb:\n  - x\n  - {c: 2, d: 3}\n")
    assert document.key_at(("a",)) == Position(2, 1)
    assert document.value_at(("a",)) == Position(2, 4)
    assert document.key_at(("b", 1, "d")) == Position(5, 12)
    assert document.value_at(("b", 1, "d")) == Position(5, 15)
    assert document.value_at(("b", 0)) == Position(4, 5)
    assert document.value_at(("b", 1, "gone", "deeper")) == Position(5, 5)


def test_merge_keys_and_aliases(tmp_path: Path) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {a: 9, c: 3}\nx: {<<: [*base, *more], b: 5}\ny: *base\n"
    data = read(tmp_path, text).data
    assert data["x"] == {"a": 1, "b": 5, "c": 3}
    assert data["y"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty; a matrix begins with `name:`"),
        ("# nothing\n", "1:1: the file is empty; a matrix begins with `name:`"),
        ("a: 1\n\tb: 2\n", "2:1: found a tab; YAML indents with spaces"),
        ("a: 1\nb: 2\na: 3\n", "3:1: found 'a' twice in one mapping; the first is in line 1"),
        ("a: {b: 1, b: 2}\n", "1:11: found 'b' twice in one mapping; the first is in line 1"),
        ("a: [1\nb: 2\n", "2:2: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "1:4: a: found the tag !!python/object/apply:os.system; tags",
        ),
        ("a: !mine 1\n", "1:4: a: found the tag !mine; tags are not read"),
        ("a: !!set {x}\n", "1:4: a: found the tag !!set; tags are not read"),
        ("a: !!int x\n", "1:4: a: found 'x', which is no whole number"),
        ("a: .inf\n", "1:4: a: found '.inf', which is no finite number"),
        ("a: 1e999\n", "1:4: a: found '1e999', which is no finite number"),
        ("1: a\n", "1:1: found '1' as a key; keys are text: write it in quotes if it is a name"),
        ("? [a]\n: b\n", "1:3: found a mapping or list as a key"),
        ("a: &x [*x]\n", "1:4: a: too many values, or nested too deeply: does an alias hold itself?"),
        ("a: {<<: 5}\n", "1:9: a.<<: found 5, allowed: a mapping to merge"),
        ("a: 1\n---\nb: 2\n", "2:1: expected a single document in the stream, but found another document"),
        ("a: b\x01\n", "1:5: found a control character: U+0001"),
        (b"a: 1\nb: caf\xe9\n", "2:7: not UTF-8: found byte 0xe9; save the file as UTF-8"),
        ("[" * 3000, "1:1: nested too deeply"),
        ('a: "\\Uffffffff"\n', "1:1: no valid YAML: Python int too large"),
        ("%YAML 1.3\n--- a\n", "1:1: no valid YAML: version minor part"),
        ('a: "\\ud800"\n', "1:4: a: found '\\ud800', which is no text"),
        ('"\\ud800": a\n', "1:1: found '\\ud800' as a key"),
        ("a: *nothing\n", "1:4: found undefined alias 'nothing'"),
    ],
)
def test_what_is_no_yaml_of_ours(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'm.yaml'}:{message}")


def test_aliases_of_aliases_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(UsageError, match="too many values"):
        read(tmp_path, "\n".join(lines))


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("a: 1")
    with pytest.raises(UsageError, match=r"there is no such file; did you mean 'matrix.yaml'\?"):
        read_document(tmp_path / "matrx.yaml")
    with pytest.raises(UsageError, match=r"there is no such file$"):
        read_document(tmp_path / "nowhere" / "matrix.yaml")
    with pytest.raises(UsageError, match="this is a folder"):
        read_document(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_document(Path("a\0b"))
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(UsageError, match="too large for a matrix"):
        read_document(tmp_path / "large.yaml")


def test_problems_come_in_the_order_of_the_file_and_not_without_end() -> None:
    document = Document(Path("m.yaml"))
    document.refuse_if_wrong()
    for line in reversed(range(1, MOST_PROBLEMS + 4)):
        document.values["at", line] = Position(line, 7)
        document.at_value(("at", line), "wrong")
    with pytest.raises(UsageError) as caught:
        document.refuse_if_wrong()
    lines = str(caught.value).splitlines()
    assert lines[0] == "m.yaml:1:7: at.1: wrong"
    assert lines[-1] == "… and 3 more"
    assert len(lines) == MOST_PROBLEMS + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1, "1"), ("a", "'a'"), ([], "an empty list"), ({"a": 1}, "a mapping")],
)
def test_values_are_shown_as_in_yaml(value: object, text: str) -> None:
    assert shown(value) == text


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 500)) == 60


def test_the_nearest_spelling() -> None:
    assert nearest("treads", ["threads", "workers"]) == "; did you mean 'threads'?"
    assert nearest("zzz", ["threads", "workers"]) == ""
