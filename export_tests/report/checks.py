"""Checks as they are written, made up: of a ResNet with gates, for a device with a DLA."""

from __future__ import annotations

from edgeattn.records.check import (
    Checked,
    DLAReport,
    Finding,
    NeededMemory,
    OperatorAnswer,
    Side,
    Stretch,
)


def strip(name="layer", blocks=2):
    """Blocks whose gates fall back, and one of which nothing is known."""
    found = [Stretch(side="dla", module="conv1", site="", nodes=3)]
    for stage in range(1, 5):
        for block in range(blocks):
            path = f"{name}{stage}.{block}"
            site = f"{path}.attention"
            found += [
                Stretch(side="dla", module=f"{path}.conv1", site="", nodes=6, changes=bool(block)),
                Stretch(side="gpu", module=site, site=site, nodes=1, changes=1),
                Stretch(side="unknown", module=site, site=site, nodes=2, possible=1),
                Stretch(side="dla", module=site, site=site, nodes=3, possible=2),
                Stretch(side="dla", module="", site="", nodes=1),
            ]
    return (*found, Stretch(side="gpu", module="fc", site="", nodes=2, changes=1))


def checked(name="layer", **changes):
    """A check whose names hold a word."""
    site = f"{name}1.0.attention"
    finding = Finding(
        about="dla", verdict="no", fact=f"ReduceMean does not run on the DLA: {name}.",
        mend=f"Lower it: --target dla\nor leave {name} out", source="NVIDIA's guide",
        op="ReduceMean", nodes=(f"{site}/ReduceMean_0",), module=site, site=site,
    )  # fmt: skip
    other = finding.model_copy(update={"module": f"{name}2.0", "site": "", "nodes": ("a", "b")})
    dla = DLAReport(
        generation="orin", precision="fp16", dla=80, gpu=9, unknown=8, changes=(14, 22),
        loadables=(5, 12), copied_bytes=(1_200_000, 3_400_000), copies_us=(12.0, 90.0),
        modules=(
            Side(module=f"{name}1.0.conv1", site="", dla=4, gpu=0, unknown=0, reasons=()),
            Side(module=site, site=site, dla=3, gpu=1, unknown=2,
                 reasons=(f"ReduceMean: is not exposed ({name})", "Div: sources disagree")),
        ),
        strip=strip(name),
    )  # fmt: skip
    made = Checked(
        model=f"resnet50 {name}", device="jetson-agx-orin", title=f"Jetson AGX Orin {name}",
        jetpack="5.1", library="TensorRT", version="8.5.2", opset=17, precision="fp16",
        verdict="no",
        findings=(
            finding, other,
            Finding(about="opset", verdict="unknown", fact="Opset 17 is above 13.", source="x"),
            Finding(about="trap", verdict="yes", fact=f"A {name} is slow.", mend="Measure.",
                    source="NVIDIA/TensorRT#1", nodes=("c",)),
        ),
        operators=(
            OperatorAnswer(op="Conv", count=53, verdict="yes", reason="", source="operators.md"),
            OperatorAnswer(op=name, count=1, verdict="no", reason="no importer", source=name),
        ),
        memory=NeededMemory(weights_bytes=51_000_000, activations_bytes=None, at="",
                            device_bytes=32 << 30),
        dla=dla, host="", command=f"edgeattn check {name}", versions={}, notes=(f"so {name}",),
    )  # fmt: skip
    return made.model_copy(update=changes)
