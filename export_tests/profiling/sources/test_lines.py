"""Lines of an author's own attention are followed through what is made of an export."""

from edgeattn.profiling.sources.lines import SaidOfLines, carried, lines_of, merged


def test_rewrites_carry_on_whose_nodes_are():
    own = {"a": frozenset("1"), "b": frozenset("2"), "c": frozenset("3")}
    steps = [(["a", "b", "x"], ["d", "e"]), (["y"], ["z"]), (["e", "c"], ["f"])]
    found = carried(own, steps)
    assert {name: "".join(sorted(found[name])) for name in "defc"} == {
        "d": "12", "e": "12", "f": "123", "c": "3",
    }  # fmt: skip
    assert "z" not in found
    assert carried(own, []) == own


def test_what_shares_something_is_together():
    sets = map(frozenset, ["a", "bc", "d", "ce", "ef", "d"])
    assert sorted("".join(sorted(one)) for one in merged(sets)) == ["a", "bcef", "d"]


def line(number, *nodes):
    at = {"file": "/x/mine.py", "line": number, "code": f"line {number}"}
    return {"attention": "A", "lines": [at], "nodes": nodes}


def test_lines_that_later_rewrites_bring_together():
    export = SaidOfLines(lines=[line(3, "a"), line(4, "b", "c"), line(5, "d")])
    assert [one.place for one in lines_of(export, [])] == [f"mine.py:{at}" for at in (3, 4, 5)]
    lowered = SaidOfLines(rewrites=[{"nodes_before": ["b", "d"], "nodes_after": ["e"]}])
    cast = SaidOfLines()
    opset = SaidOfLines(legalised=[{"node": "e", "into": ["f", "g"]}])
    found = lines_of(export, [lowered, cast, opset])
    assert [(one.place, one.code) for one in found] == [
        ("mine.py:3", "line 3"), ("mine.py:4 to 5", "line 4"),
    ]  # fmt: skip
    assert {"c", "f", "g"} <= {*found[1].nodes}
