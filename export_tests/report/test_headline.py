"""The sentence that a report begins with."""

from __future__ import annotations

import pytest

from edgeattn.records.trace import Identity, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.headline import excess, headline, headline_of, hidden_ms, share, subject
from export_tests.report.traces import above, plain, report, trace


def identity(difference):
    return Identity(kernels=(), difference=difference, replaced=(), kept={})


def said(one):
    made = report(one)
    return str(headline_of(made, made.rows[0]))


def test_it_says_what_flops_say_and_what_it_takes():
    one = trace(identity=identity(above(31.5)))
    assert said(one) == "simam at 2 sites: 0 parameters, 0 MACs, +31.5 % latency"


def test_without_a_difference_it_says_the_share_of_time():
    assert said(trace()) == "simam at 2 sites: 0 parameters, 0 MACs, 26.8 % of the time"


def test_noise_is_called_noise():
    one = trace(identity=identity(above(0.4)))
    assert said(one).endswith("no latency that stands out of the noise (+0.4 %)")


def test_parts_are_written_of_their_whole():
    sites = tuple(one.model_copy(update={"params": 125}) for one in trace().sites)
    nodes = tuple(
        one.model_copy(update={"macs": 100}) if one.op_type == "ReduceMean" else one
        for one in trace().nodes
    )
    assert said(trace(sites=sites, nodes=nodes)).startswith(
        "simam at 2 sites: 1.0 % of the parameters, < 0.1 % of the MACs"
    )


def test_parameters_that_are_not_known_are_not_spoken_of():
    sites = tuple(one.model_copy(update={"params": None}) for one in trace().sites)
    assert "parameters" not in said(trace(sites=sites))


def test_a_model_without_sites_has_its_latency():
    assert said(plain()) == "net plain: no attention, 0.3 ms".replace("0.3 ms", "300 µs")


def test_of_two_the_second_is_meant_and_of_more_the_dearest():
    cheap, dear = trace("cheap", attended=False), trace("dear")
    assert subject(report(dear, cheap)) == 1
    assert subject(report(cheap, dear, plain())) == 1
    assert subject(report(dear)) == 0


def test_several_are_said_in_one_sentence():
    rows = [
        SavedRow(trace=plain()),
        SavedRow(trace=trace("a"), difference=above(8.0)),
        SavedRow(trace=trace("b"), difference=above(40.0)),
    ]
    whole = headline(report_of(rows))
    assert str(whole) == (
        "2 models with attention: 0 parameters and 0 MACs, +8.0 to +40.0 % latency"
    )
    assert whole.more == ("Least a, most b.",)


def test_a_headline_keeps_to_what_is_measured_or_to_what_is_predicted():
    made = report(plain(), trace("a"), trace("b"), trace("c", predicted=True))
    assert str(headline(made)).startswith("2 models with attention, measured:")


def test_it_says_above_what():
    some = identity(above(9.0)).model_copy(update={"kept": {"layer1.0.attention": "it resizes"}})
    for one, than in (
        (trace(identity=identity(above(9.0))), "the same model without attention,"),
        (trace(identity=some), "the same model without attention, but for 1 of 2 sites,"),
    ):
        made = report(one)
        assert f"above {than} 95 %" in headline_of(made, made.rows[0]).more[0]
    made = report(plain(), trace())
    assert "above net plain," in headline_of(made, made.rows[1]).more[0]


def test_the_plain_model_is_compared_with_before_identity_is():
    one = trace(identity=identity(above(10.0)))
    against_plain, alone = report(plain(), one), report(trace("other"), one)
    assert excess(against_plain, against_plain.rows[1]).percent == 33.0
    assert excess(alone, alone.rows[1]).percent == 10.0
    assert excess(report(plain()), report(plain()).rows[0]) is None


def test_the_hidden_cost_is_what_macs_do_not_explain():
    nodes = (trace().nodes[0].model_copy(update={"macs": 2 * 10**6}), *trace().nodes[1:])
    made = report(plain(), trace(), trace(nodes=nodes))
    # 10⁶ MACs take 100 µs in the first row.
    assert hidden_ms(made, made.rows[1]) == pytest.approx(0.1)
    assert hidden_ms(made, made.rows[2]) == pytest.approx(0.0)
    assert hidden_ms(made, made.rows[0]) is None


@pytest.mark.parametrize(
    ("part", "written"), [(0, "0"), (0.0001, "< 0.1 %"), (0.001, "0.1 %"), (0.3149, "31.5 %")]
)
def test_what_is_small_is_not_nothing(part, written):
    assert share(part) == written
