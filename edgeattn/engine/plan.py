"""The plan of an engine: which kernels TensorRT-RTX makes of an ONNX model. No GPU is needed.

The engine is built for a compute capability and thrown away; what stays is the layer information
that the builder prints. It is a plan: on the device, kernels are compiled from it, and TensorRT
proper fuses otherwise. So its kernels and bytes are figures to compare graphs by, and no times.

Built in this process: 50 builds of a ResNet-18 left it as large as the fifth did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edgeattn.engine.layers import Kernel, read_log
from edgeattn.errors import InputError, MissingError, first_line

#: The compute capability of an RTX 30 and of its many kin.
DEFAULT_CAPABILITY: Final = (8, 6)
# How the message with the layer information begins.
_LAYERS: Final = "Layers:"


def plan(
    model: Path | bytes, *, compute_capability: tuple[int, int] = DEFAULT_CAPABILITY
) -> tuple[Kernel, ...]:
    """Builds an engine and reads its layer information.

    Args:
        model: An ONNX file, whose weights may lie in files beside it; or the bytes of a model that
            holds its weights itself. Its shapes must be static.
        compute_capability: What the engine is for: major and minor number.

    Returns:
        The kernels, in the order of the engine.

    Raises:
        InputError: TensorRT-RTX does not take the model (names the node and the reason), has open
            shapes, or does not build for this compute capability.
        MissingError: TensorRT-RTX is not installed.
    """
    trt = _library()
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if isinstance(model, bytes):
        parsed = parser.parse(model)
    elif model.is_file():
        parsed = parser.parse_from_file(str(model))
    else:
        raise InputError(f"There is no file {model}.")
    if not parsed:
        raise _refused(parser, log)
    _check_static(network)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(_capability(trt, compute_capability), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if builder.build_serialized_network(network, config) is None or len(log.layers) != 1:
        reason = "; ".join(map(_in_one_line, log.errors)) or "it gave no reason"
        raise InputError(f"TensorRT-RTX builds no engine of this model: {reason}.")
    return read_log(log.layers[0])


def _library() -> Any:
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise MissingError(
            f"TensorRT-RTX, which makes the plan, does not load: {first_line(error)}.",
            mend="On x86-64 Linux and Windows: pip install tensorrt-rtx",
        ) from error
    return tensorrt_rtx


def _log(trt: Any) -> Any:
    """Makes a logger that keeps the layer information and the errors, and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.layers: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if message.startswith(_LAYERS):
                self.layers.append(message)
            elif severity in (self.Severity.ERROR, self.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def _refused(parser: Any, log: Any) -> InputError:
    """Says which nodes the parser does not take, and why."""
    lines = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        name, op_type = error.node_name() or f"node {error.node()}", error.node_operator()
        where = f"{name} ({op_type}): " if op_type else ""
        lines.append(f"  {where}{_in_one_line(error.desc())}")
    lines = lines or [f"  {_in_one_line(message)}" for message in log.errors]
    return InputError("\n".join(["TensorRT-RTX does not take this model:", *lines]))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _check_static(network: Any) -> None:
    for index in range(network.num_inputs):
        value = network.get_input(index)
        if any(size < 0 for size in value.shape):
            raise InputError(
                f"Input {value.name} has open dimensions: {tuple(value.shape)}.",
                mend="A plan is for one shape: export the model without --dynamic-batch.",
            )


def _capability(trt: Any, wanted: tuple[int, int]) -> Any:
    known = {
        name.removeprefix("SM"): value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    major, minor = wanted
    name = f"{major}{minor}"
    if name not in known:
        raise InputError(
            f"TensorRT-RTX builds nothing for compute capability {major}.{minor}.",
            mend=f"It does for {', '.join(f'{n[:-1]}.{n[-1]}' for n in known)}.",
        )
    return known[name]
