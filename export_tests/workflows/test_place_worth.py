"""What sites are worth, and which are kept; whatever is of no site names the nearest."""

from __future__ import annotations

import json
import re

import pytest

from edgeattn.base.errors import InputError
from edgeattn.options.place import PlaceOptions
from edgeattn.records.manifest import PlacedSite
from edgeattn.workflows.place_worth import Worth

SITES = [
    PlacedSite(
        path=f"layer{n}.attention", attention="se", target=f"layer{n}.bn2", shape=(8 * n, 4, 4),
        params=10 * n, note="",
    )
    for n in (1, 2, 3)
]  # fmt: skip


def worth(sites=SITES, **options):
    return Worth.of(PlaceOptions(budget="+5%", **options), sites)


def test_sites_parameters_and_scores(tmp_path):
    assert worth().values == (1, 1, 1)
    assert worth(by="parameters").values == (10, 20, 30)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"layer*": 2, "layer3.bn2": 0.5, "layer1.attention": -1}))
    found = worth(scores=path)
    assert (found.by, found.values, found.notes) == ("scores", (-1, 2, 0.5), ())
    path.write_text('{"layer2.*": 1}')
    (note,) = worth(scores=path).notes
    assert note == "Sites without a score stay out: layer1.attention, layer3.attention."


def test_sites_are_kept_by_their_path_or_by_what_they_attend():
    assert worth(keep=("layer1.bn2", "*3.attention")).kept == {0, 2}
    assert worth(keep=("*",)).kept == {0, 1, 2}


def test_what_is_of_no_site(tmp_path):
    with pytest.raises(InputError, match=r"'layer1.bn3', which is no site.\nDid you mean layer1"):
        worth(keep=("layer1.bn3",))
    bare = [site.model_copy(update={"params": 0}) for site in SITES]
    with pytest.raises(InputError, match="se has no parameters"):
        worth(bare, by="parameters")
    path = tmp_path / "s.json"
    for text, said in (
        ('{"layer1.atention": 1}', "'layer1.atention', which is no site.\nDid you mean layer1"),
        ('{"layer1.bn2": "high"}', "by 'high', which is no number"),
        ('{"layer1.bn2": true}', "by True, which is no number"),
        ('{"layer1.bn2": NaN}', "s.json"),
        ("[1, 2]", "is no object of scores"),
        ("{}", "is no object of scores"),
        ("{", "is no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(said)):
            worth(scores=path)
