"""Whether a DLA takes a node of an ONNX graph through TensorRT, and which TensorRT reaches one."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from edgeattn.base.versions import numbers
from edgeattn.graph.nodes import is_standard
from edgeattn.support.answers import Answer, worst
from edgeattn.support.dla_layers import LAYERS
from edgeattn.support.dla_unit import GUIDE, PARSER, WORKING, Generation, Unit, no, unknown, yes
from edgeattn.support.dla_values import is_folded, is_left_out, of_values

_GENERATIONS: Final[dict[str, Generation]] = {"7.2": "xavier", "8.7": "orin"}
# The last of the 10 line whose documentation has the DLA, and the first that has it again.
_LAST_DOCUMENTED: Final = (10, 7)
_AGAIN: Final = (11, 4, 1)


class DLA(Unit):
    """A DLA, as a version of TensorRT reaches it in a precision."""

    def takes(self, node: ir.Node) -> Answer:
        """Return whether a node runs on the DLA, and if not, why.

        A node that TensorRT computes when it builds, or leaves out, is on no device: "yes".

        Args:
            node: The node, with the shapes of its values.
        """
        if is_folded(node):
            return yes("", "it is computed when the engine is built")
        if is_left_out(node):
            return yes(PARSER, "TensorRT leaves it out")
        if not is_standard(node):
            return no("TensorRT runs it as a plugin, on the GPU", GUIDE, mend="")
        rule = LAYERS.get(node.op_type)
        if rule is None:
            return no("a DLA has no layer for it", GUIDE, mend="")
        return worst([*rule(self, node), *of_values(self, node), yes(GUIDE)])


def generation_of(compute_capability: str) -> Generation | None:
    """Return the generation of the DLA beside a GPU, or None if no such is known.

    Args:
        compute_capability: Of the GPU, such as "8.7".
    """
    return _GENERATIONS.get(compute_capability)


def dla_of(compute_capability: str, dla_cores: int, tensorrt: str, device: str = "") -> Answer:
    """Return whether a version of TensorRT reaches a DLA of a device.

    Args:
        compute_capability: Of the device's GPU, such as "8.7".
        dla_cores: How many DLA cores the device has.
        tensorrt: TensorRT's version, such as "10.3".
        device: The device's name, such as "jetson-agx-orin-64gb".
    """
    if not dla_cores:
        return no("the device has no DLA", "NVIDIA's data sheet of the device", mend="")
    generation = generation_of(compute_capability)
    if generation is None:
        return unknown(f"no DLA beside a GPU of compute capability {compute_capability} is known")
    version = numbers(tensorrt)
    if generation == "xavier" and version >= (8, 6):
        source = "NVIDIA JetPack archive: JetPack 5, with TensorRT 8.5, is the last for Xavier"
        return no(f"TensorRT {tensorrt} is not there for Xavier", source, mend="")
    return yes(GUIDE) if version[:2] <= _LAST_DOCUMENTED else _later(tensorrt, device)


def _later(tensorrt: str, device: str) -> Answer:
    """Return whether a TensorRT after 10.7 reaches the DLA of an Orin."""
    version = numbers(tensorrt)
    if version < (11,):
        fact = "NVIDIA calls TensorRT 10.7 the last of 10 that has a DLA, and trtexec of"
        return unknown(f"{fact} {tensorrt} has options for it", f"{WORKING}; trtexec --help")
    if version < _AGAIN and version != _AGAIN[:2]:
        mend = "TensorRT 11.4.1 has one again: an AGX Orin's, with JetPack 7.2.2."
        return no(f"TensorRT {tensorrt} has no DLA of a Jetson", WORKING, mend)
    if "agx-orin" not in device:
        return unknown(f"of TensorRT {tensorrt} only an AGX Orin's DLA is documented", WORKING)
    return yes(WORKING, "with JetPack 7.2.2 or later")
