"""The modules of this package, explicitly: all that is said of each but its class.

Lists, tables of the documentation and published places are read from here, and nowhere else.
"""

from __future__ import annotations

from typing import Final

from edgeattn.attention.specs import AttentionSpec


def _spec(  # the same words as AttentionSpec's, with the target inside this package
    name: str,
    target: str,
    paper: str,
    summary: str,
    *,
    place: str | None,
    min_positions: int = 1,
    replaces_conv: bool = False,
) -> AttentionSpec:
    return AttentionSpec(
        name=name,
        target=f"edgeattn.attention.{target}",
        paper=paper,
        summary=summary,
        place=place,
        min_positions=min_positions,
        replaces_conv=replaces_conv,
    )


OURS: Final = (
    _spec(
        "se",
        "se:SE",
        "Hu et al. 2018, arXiv:1709.01507",
        "channel gate from the global mean",
        place="block-end",
    ),
    _spec(
        "se-ghost",
        "se_ghost:SEGhost",
        "Tang et al. 2022, arXiv:2211.12905",
        "squeeze-and-excitation as in GhostNetV2: hard gate, hidden width C/4",
        place="block-end",
    ),
    _spec(
        "cam",
        "cam:CAM",
        "Woo et al. 2018, arXiv:1807.06521",
        "CBAM's channel gate alone, from global mean and maximum",
        place="block-end",
    ),
    _spec(
        "sam",
        "sam:SAM",
        "Woo et al. 2018, arXiv:1807.06521",
        "CBAM's spatial gate alone, from maximum and mean over channels",
        place="block-end",
    ),
    _spec(
        "cbam",
        "cbam:CBAM",
        "Woo et al. 2018, arXiv:1807.06521",
        "channel gate, then spatial",
        place="block-end",
    ),
    _spec(
        "bam",
        "bam:BAM",
        "Park et al. 2018, arXiv:1807.06514",
        "one gate from a channel and a dilated spatial branch",
        place="between-stages",
    ),
    _spec(
        "eca",
        "eca:ECA",
        "Wang et al. 2020, arXiv:1910.03151",
        "channel gate from a 1-D convolution over channels",
        place="block-end",
    ),
    _spec(
        "simam",
        "simam:SimAM",
        "Yang et al. 2021, ICML",
        "gate per value from its distance to the mean, no parameters",
        place="depthwise-or-second",
        min_positions=2,
    ),
    _spec(
        "sa",
        "sa:SA",
        "Zhang and Yang 2021, arXiv:2102.00240",
        "shuffle attention: channel and spatial gates in groups, then a shuffle",
        place="block-end",
    ),
    _spec(
        "ulsam",
        "ulsam:ULSAM",
        "Saini et al. 2020, arXiv:2006.15102",
        "spatial softmax in each of four subspaces",
        place="ulsam-layers",
    ),
    _spec(
        "sge",
        "sge:SGE",
        "Li et al. 2019, arXiv:1905.09646",
        "spatial gate per group, from likeness to the group's mean",
        place="block-end",
        min_positions=2,
    ),
    _spec(
        "ema",
        "ema:EMA",
        "Ouyang et al. 2023, arXiv:2305.13563",
        "in groups: gates along rows and columns and a 3x3 branch, each weighing the other",
        place="block-end",
    ),
    _spec(
        "nam",
        "nam:NAM",
        "Liu et al. 2021, arXiv:2111.12419",
        "gate per value from a BatchNorm and its scales, the first code's channel part",
        place="block-end",
    ),
    _spec(
        "srm",
        "srm:SRM",
        "Lee et al. 2019, arXiv:1903.10829",
        "channel gate from its own mean and standard deviation",
        place="block-end",
        min_positions=2,
    ),
    _spec(
        "fca",
        "fca:FCA",
        "Qin et al. 2021, arXiv:2012.11879",
        "channel gate as SE's, from a DCT coefficient for each sixteenth of the channels",
        place="block-end",
    ),
    _spec(
        "gc",
        "gc:GC",
        "Cao et al. 2019, arXiv:1904.11492",
        "adds one attention-pooled context vector to every position",
        place="resnet-past-stage-1",
    ),
    _spec(
        "ca",
        "ca:CA",
        "Hou et al. 2021, arXiv:2103.02907",
        "coordinate attention: gates by rows and by columns through one narrow layer; timm-coord "
        "is wider, without biases",
        place="behind-expanded-depthwise",
    ),
    _spec(
        "ela",
        "ela:ELA",
        "Xu and Wan 2024, arXiv:2403.01123",
        "gates by rows and by columns from one 1-D convolution along each; timm-ela has one for "
        "each, and SiLU",
        place=None,
    ),
    _spec(
        "triplet",
        "triplet:Triplet",
        "Misra et al. 2021, arXiv:2010.03045",
        "CBAM's spatial gate over each pair of axes, the mean of the three",
        place="block-end",
    ),
    _spec(
        "gam",
        "gam:GAM",
        "Liu et al. 2021, arXiv:2112.05561",
        "a perceptron over each position's channels, then a gate from two 7x7 convolutions",
        place=None,
    ),
    _spec(
        "nonlocal",
        "nonlocal_:NonLocal",
        "Wang et al. 2018, arXiv:1711.07971",
        "every position attends to every other (embedded Gaussian)",
        place="every-second-block",
    ),
    _spec(
        "da",
        "da:DA",
        "Fu et al. 2019, arXiv:1809.02983",
        "attention between positions and between channels",
        place="last",
    ),
    _spec(
        "sk",
        "sk:SK",
        "Li et al. 2019, arXiv:1903.06586",
        "replaces a 3x3 convolution by branches of different dilation",
        place="3x3-convolutions",
        replaces_conv=True,
    ),
    _spec(
        "stn",
        "stn:STN",
        "Jaderberg et al. 2015, arXiv:1506.02025",
        "warps the network's input by a learnt affine map",
        place="input",
    ),
)
"""In the order of the list."""
