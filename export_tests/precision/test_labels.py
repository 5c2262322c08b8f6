"""Labels are those of the models' classes, or the data are refused."""

from __future__ import annotations

import pytest

from edgeattn.base.errors import InputError
from edgeattn.precision.labels import names_in, names_of, read_labelled
from export_tests.precision.classifiers import COLOURS, colours


def listed(folder, text, name="list.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_folders_are_counted_in_the_order_of_their_names(tmp_path):
    found = read_labelled(colours(tmp_path / "val", 2), 3)
    assert [path.parent.name for path in found.paths] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    assert found.labels == (0, 0, 1, 1, 2, 2)
    assert found.names == {0: "blue", 1: "green", 2: "red"}
    assert found.notes == ()


def test_folders_of_a_part_of_the_classes(tmp_path):
    data = colours(tmp_path / "val", 1)
    found = read_labelled(data, 4, ("red", "grey", "green", "blue"))
    assert found.labels == (3, 2, 0)
    hints = ("red", "grey", "green", "blue")
    assert read_labelled(data, 4, hints=hints).labels == (3, 2, 0)
    assert read_labelled(data, 3, hints=("tench", "goldfish", "red")).labels == (0, 1, 2)
    numbered = colours(tmp_path / "numbers", 1, dict.fromkeys(("2", "10"), (0, 0, 0)))
    assert read_labelled(numbered, 11).labels == (10, 2)


def test_numbers_that_are_sorted_as_text_are_told(tmp_path):
    names = dict.fromkeys(map(str, range(11)), (0, 0, 0))
    found = read_labelled(colours(tmp_path / "val", 1, names), 11)
    assert [found.names[k] for k in range(3)] == ["0", "1", "10"]
    assert "10 comes before 2" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("red/0000.png,2\nblue/0000.png,0\n", "list.csv"),
        ("path;class\nred/0000.png;2\n\nblue/0000.png;0\n", "list.csv"),
        ("label\tx\tfile\n2\t?\tred/0000.png\n0\t?\tblue/0000.png\n", "list.tsv"),
        ("red/0000.png 2\nblue/0000.png 0\n", "val.txt"),
        ('\ufeff"red/0000.png", 2\r\n"blue/0000.png", 0\r\n', "list.csv"),
    ],
)
def test_lists(tmp_path, text, name):
    data = colours(tmp_path, 1)
    found = read_labelled(listed(data, text, name), 3)
    assert found.paths == (data / "red" / "0000.png", data / "blue" / "0000.png")
    assert found.labels == (2, 0)
    found.check_are_there()


def test_lists_of_names(tmp_path):
    text = "file,label\nred/0000.png,red\nblue/0000.png,blue\n"
    names = ("blue", "green", "red")
    assert read_labelled(listed(tmp_path, text), 3, names).labels == (2, 0)
    assert read_labelled(listed(tmp_path, text), 2).labels == (1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,3\n", "line 1: there is no class 3; the model has 3, counted from 0 to 2"),
        ("a.png,0\nb.png,-1\n", "line 2: there is no class -1"),
        ("a.png,0\nb.png\n", "line 2 has no file and label"),
        ("a.png,0\n,1\n", "line 2 has no file and label"),
        ("", "holds no images"),
        ("file,label\n", "holds no images"),
        ("a.png,cat\n", "names 1 class, and the model has 3"),
        ("a.png,99999999999999999999\n", "names 1 class, and the model has 3"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_labelled(listed(tmp_path, text), 3)


def test_files_that_are_not_there_are_named(tmp_path):
    found = read_labelled(listed(tmp_path, "a.png,0\nb.png,1\n"), 3)
    with pytest.raises(InputError, match=r"a\.png, of list .*, is not there, nor 1 more"):
        found.check_are_there()


def test_folders_that_do_not_fit(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "cats").mkdir(parents=True)
    data = colours(tmp_path / "val", 1)
    for source, names, message in [
        ("empty", (), "holds no images"),
        ("hollow", (), "1 class, and the model has 3"),
        ("val/red", (), "images, and no folders of classes"),
        ("absent", (), "neither a folder nor a list"),
        ("val/red/0000.png", (), "neither a folder nor a list"),
        ("val", ("a", "b"), "2 classes are named, and the model has 3"),
        ("val", ("bleu", "green", "red"), "'blue' is none of the model's"),
    ]:
        with pytest.raises(InputError, match=message):
            read_labelled(tmp_path / source, 3, names)
    with pytest.raises(InputError, match="has folders for 3 classes, and the model has 1000"):
        read_labelled(data, 1000)
    for name in COLOURS:
        (data / name / "0000.png").unlink()
    with pytest.raises(InputError, match="holds no images"):
        read_labelled(data, 3)


def test_names(tmp_path):
    (tmp_path / "names.txt").write_text("tench\n\ngold fish\n")
    assert names_in(tmp_path / "names.txt") == ("tench", "gold fish")
    for text, message in [("", "names no classes"), ("a\nb\na\n", "names a twice")]:
        (tmp_path / "names.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            names_in(tmp_path / "names.txt")
    assert names_of({"names": "{0: 'tench', 1: 'gold fish'}"}) == ("tench", "gold fish")
    for said in ("", "{1: 'a'}", "{0: ", "[" * 10000, "open('x')", "7"):
        assert names_of({"names": said}) == ()
