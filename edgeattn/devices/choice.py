"""What a model is exported as for a device where nobody says: opset, target, precision, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.base.versions import is_part, numbers
from edgeattn.devices.schema import DeviceProfile, JetPack
from edgeattn.legalise import OLDEST_TARGET
from edgeattn.options.export import ExportOptions
from edgeattn.options.precision import Precision
from edgeattn.support.tensorrt import Parser

_FP32_ON_CPU: Final = "ONNX Runtime computes fp16 on no processor faster than that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What suits a device.

    Attributes:
        tensorrt: The version of TensorRT there; None if it has none, or any may be installed.
        jetpack: The JetPack; "" if the device has none.
        opset: The usual one, or the highest below it that is parsed there with all that an export
            has.
        target: What to lower for.
        precision: What it is to run in: the fastest that needs no data.
        is_cast: Whether the file is to be in that precision too. Else the builder is told: it takes
            a precision as a permission.
        why: The reason for `opset`, `target` and `precision`, each by its name.
    """

    tensorrt: str | None
    jetpack: str
    opset: int
    target: Literal["tensorrt", "onnxruntime", "dla"]
    precision: Precision
    is_cast: bool
    why: Mapping[str, str]


def choice_of(
    device: DeviceProfile,
    *,
    jetpack: str | None = None,
    tensorrt: str | None = None,
    dla: bool = False,
) -> Choice:
    """Choose for a device.

    Args:
        device: The device.
        jetpack: Its JetPack, such as "5.1"; None for its newest.
        tensorrt: Its TensorRT, such as "8.5"; None for the JetPack's.
        dla: Whether the model is for its DLA.

    Raises:
        InputError: It has no such JetPack, no TensorRT, or no DLA; or the two versions contradict
            each other.
    """
    row = jetpack_of(device, jetpack, tensorrt=tensorrt)
    if dla and not device.dla_cores:
        raise InputError(
            f"The {device.title} has no DLA.",
            mend="Leave --dla out. Jetsons with one: AGX Xavier, Xavier NX, Orin NX, AGX Orin.",
        )
    if device.kind == "cpu":
        if tensorrt is not None:
            raise InputError(f"The {device.title} runs no TensorRT.", mend="Leave --tensorrt out.")
        return Choice(
            tensorrt=None,
            jetpack="",
            opset=_USUAL,
            target="onnxruntime",
            precision="fp32",
            is_cast=True,
            why={
                "opset": "the usual one",
                "target": f"the {device.title} has no TensorRT",
                "precision": _FP32_ON_CPU,
            },
        )
    version = tensorrt or (row.tensorrt if row else None)
    if tensorrt is not None and tensorrt.isdecimal():  # 10 is that of the JetPack, or the first
        version = row.tensorrt if row else f"{tensorrt}.0"
    opset, lacking = _without_lacking(
        min(_USUAL, row.opset) if row else _highest_opset(version), version
    )
    library = f"TensorRT {version}" if version else "TensorRT"
    if row and row.tensorrt == version:
        library += f" of JetPack {_called(row, jetpack)}"
    gain = device.peak_tflops.get("fp16", 0.0) / device.peak_tflops["fp32"]
    precision: Precision = "fp16" if dla or gain > 1 else "fp32"
    # A DLA takes fp16 as a flag up to 10, and no casts that are known of.
    is_typed = version is None or numbers(version) >= ((11,) if dla else (10,))
    told = "" if is_typed else f"; {library} is told so (--fp16), and the file stays in float32"
    why = {
        "opset": f"before {lacking}, which {library} lacks"
        if lacking
        else f"the highest that {library} parses"
        if opset < _USUAL
        else f"the usual one, which {library} parses",
        "target": f"for the DLA of the {device.title}" if dla else f"{library} runs models there",
        "precision": f"a DLA computes in fp16 or int8{told}"
        if dla
        else f"the {device.title} reaches {gain:.2g} times the peak of fp32 in it{told}"
        if gain > 1
        else f"the {device.title} is not faster in fp16",
    }
    return Choice(
        tensorrt=version,
        jetpack=_called(row, jetpack) if row else "",
        opset=opset,
        target="dla" if dla else "tensorrt",
        precision=precision,
        is_cast=is_typed,
        why=why,
    )


_USUAL: Final = ExportOptions().opset
#: Operators that an export has from an opset on, and that are written in parts before it.
_WRITTEN_FROM: Final = {"LayerNormalization": 17}


def _without_lacking(opset: int, tensorrt: str | None) -> tuple[int, str]:
    """Return an opset at which no operator is written that a TensorRT lacks, and what it lacks."""
    lacking = ""
    for op_type, since in _WRITTEN_FROM.items():
        if tensorrt is not None and opset >= since:
            node = ir.Node("", op_type, [], version=opset)
            if Parser(tensorrt).takes(node).verdict != "yes":
                opset, lacking = since - 1, op_type
    return opset, lacking


def _highest_opset(tensorrt: str | None) -> int:
    """Return the usual opset, or the highest below it that a version is documented to parse."""
    if tensorrt is None:
        return _USUAL
    parser = Parser(tensorrt)
    opsets = range(_USUAL, OLDEST_TARGET - 1, -1)
    return next((one for one in opsets if parser.takes_opset(one).verdict == "yes"), OLDEST_TARGET)


def jetpack_of(
    device: DeviceProfile, asked: str | None = None, *, tensorrt: str | None = None
) -> JetPack | None:
    """Return the JetPack of a device: as asked, the one with a TensorRT, or the newest.

    Args:
        device: The device.
        asked: Such as "6", "5.1" or "4.6.3".
        tensorrt: The version of TensorRT that it must have, such as "8.5".

    Returns:
        None if it has no JetPack at all, or none with that TensorRT.

    Raises:
        InputError: It never had that one, or more than one is called so; or that one has another
            TensorRT.
    """
    rows = [row for row in device.jetpack if tensorrt is None or is_part(tensorrt, row.tensorrt)]
    if asked is None:
        return rows[-1] if rows else None
    if not device.jetpack:
        raise InputError(
            f"The {device.title} is no Jetson, and has no JetPack.", mend="Leave --jetpack out."
        )
    found = [row for row in device.jetpack if _covers(row.jetpack, numbers(asked))]
    # The last of 4.6 and 4.6.1 that covers 4.6.3; but 6 is 6.0 as well as 6.2.
    exact = [row for row in found if _has(row.jetpack, numbers(asked))][-1:]
    found = exact or found
    had = ", ".join(row.jetpack for row in device.jetpack)
    if len(found) != 1:
        what = f"several JetPacks {asked}" if found else f"no JetPack {asked!r} that is known"
        raise InputError(f"The {device.title} has {what}.", mend=f"There are {had}.")
    if tensorrt is not None and found[0] not in rows:
        raise InputError(
            f"JetPack {asked} has TensorRT {found[0].tensorrt}, and --tensorrt says {tensorrt}.",
            mend="Leave one of both out.",
        )
    return found[0]


def _has(label: str, version: tuple[int, ...]) -> bool:
    """Return whether a version is one of those that a label is for: 6.2.1 of `6.1-6.2`."""
    low, _, high = label.partition("-")
    first, last = numbers(low), numbers(high or low)[:2]  # a later patch is the same release
    return first <= version and version[: len(last)] <= last


def _covers(label: str, version: tuple[int, ...]) -> bool:
    """Return whether a version is one of a label's, or the beginning of one: 6 of `6.1-6.2`."""
    low = numbers(label)
    return bool(version) and (_has(label, version) or low[: len(version)] == version)


def _called(row: JetPack, asked: str | None) -> str:
    """Return what a JetPack is called: as asked, unless that is shorter than what it is."""
    return asked if asked is not None and _has(row.jetpack, numbers(asked)) else row.jetpack
