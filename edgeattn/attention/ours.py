"""The modules of this package, explicitly: name, place, paper, and what the formula needs."""

from __future__ import annotations

from typing import Final

from edgeattn.attention.specs import AttentionSpec


def _spec(  # the same words as AttentionSpec's, with the target inside this package
    name: str,
    target: str,
    paper: str,
    summary: str,
    *,
    min_positions: int = 1,
    replaces_conv: bool = False,
) -> AttentionSpec:
    return AttentionSpec(
        name=name,
        target=f"edgeattn.attention.{target}",
        paper=paper,
        summary=summary,
        min_positions=min_positions,
        replaces_conv=replaces_conv,
    )


OURS: Final = (
    _spec("se", "se:SE", "Hu et al. 2018, arXiv:1709.01507", "channel gate from the global mean"),
    _spec(
        "se-ghost",
        "se_ghost:SEGhost",
        "Tang et al. 2022, arXiv:2211.12905",
        "squeeze-and-excitation as in GhostNetV2: hard gate, hidden width C/4",
    ),
    _spec(
        "cam",
        "cam:CAM",
        "Woo et al. 2018, arXiv:1807.06521",
        "CBAM's channel gate alone, from global mean and maximum",
    ),
    _spec(
        "sam",
        "sam:SAM",
        "Woo et al. 2018, arXiv:1807.06521",
        "CBAM's spatial gate alone, from maximum and mean over channels",
    ),
    _spec("cbam", "cbam:CBAM", "Woo et al. 2018, arXiv:1807.06521", "channel gate, then spatial"),
    _spec(
        "bam",
        "bam:BAM",
        "Park et al. 2018, arXiv:1807.06514",
        "one gate from a channel and a dilated spatial branch",
    ),
    _spec(
        "eca",
        "eca:ECA",
        "Wang et al. 2020, arXiv:1910.03151",
        "channel gate from a 1-D convolution over channels",
    ),
    _spec(
        "simam",
        "simam:SimAM",
        "Yang et al. 2021, ICML",
        "gate per value from its distance to the mean, no parameters",
        min_positions=2,
    ),
    _spec(
        "sa",
        "sa:SA",
        "Zhang and Yang 2021, arXiv:2102.00240",
        "shuffle attention: channel and spatial gates in groups, then a shuffle",
    ),
    _spec(
        "ulsam",
        "ulsam:ULSAM",
        "Saini et al. 2020, arXiv:2006.15102",
        "spatial softmax in each of four subspaces",
    ),
    _spec(
        "sge",
        "sge:SGE",
        "Li et al. 2019, arXiv:1905.09646",
        "spatial gate per group, from likeness to the group's mean",
        min_positions=2,
    ),
    _spec(
        "gc",
        "gc:GC",
        "Cao et al. 2019, arXiv:1904.11492",
        "adds one attention-pooled context vector to every position",
    ),
    _spec(
        "nonlocal",
        "nonlocal_:NonLocal",
        "Wang et al. 2018, arXiv:1711.07971",
        "every position attends to every other (embedded Gaussian)",
    ),
    _spec(
        "da",
        "da:DA",
        "Fu et al. 2019, arXiv:1809.02983",
        "attention between positions and between channels",
    ),
    _spec(
        "sk",
        "sk:SK",
        "Li et al. 2019, arXiv:1903.06586",
        "replaces a 3x3 convolution by branches of different dilation",
        replaces_conv=True,
    ),
    _spec(
        "stn",
        "stn:STN",
        "Jaderberg et al. 2015, arXiv:1506.02025",
        "warps the network's input by a learnt affine map",
    ),
)
"""In the order of the list."""
