"""Which forms a model is lowered in: those that a version is trusted with, or measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.lowering import pipeline as lowering
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import check_version, is_rtx_generation
from edgeattn.options.export import ExportOptions
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.workflows.tune import run_tuned

if TYPE_CHECKING:
    import onnx_ir as ir

_DOCUMENTED: Final = (
    "Lowered for TensorRT {version}{device}, of another generation than TensorRT-RTX: only forms"
    " that rest on fusions which TensorRT documents are taken{left_out}. Nobody measured them"
    " there: --tune --on HOST does."
)
_OLDER: Final = (
    "Lowered as for TensorRT {tensorrt}, of JetPack {jetpack}. If the {title} has an older one, say"
    " which (--tensorrt {older}): other forms are taken then."
)


class Forming:
    """Lowers one model, which may come with several sets of weights, as the options ask.

    Args:
        options: What it is lowered for, and how forms are chosen.

    Attributes:
        tensorrt: The version of TensorRT that it is lowered for; None for any.
        notes: What a user should know of the forms, once a model is lowered.

    Raises:
        InputError: The options do not fit each other.
    """

    def __init__(self, options: OptimizeOptions | ExportOptions) -> None:
        self._options = options
        self._device = _device(options)
        self.notes: tuple[str, ...] = ()
        own = None if self._device is None else self._device.tensorrt
        self.tensorrt = options.tensorrt or own
        if options.tensorrt is not None:
            check_version(options.target, options.tensorrt)
        if isinstance(options, OptimizeOptions) and options.tune and not self.is_trusted:
            raise InputError(
                f"--tune compares plans of TensorRT-RTX, and TensorRT {self.tensorrt} fuses"
                " otherwise.",
                mend="Leave --tune out.",
            )

    @property
    def is_trusted(self) -> bool:
        """Whether forms are taken that only plans of TensorRT-RTX speak for."""
        return is_rtx_generation(self.tensorrt)

    def lower(self, model: ir.Model, clock: Clock) -> Lowered:
        """Lower a model in place.

        Args:
            model: The model, at opset 13 or above.
            clock: Counts the seconds, and tells of each trial of the tournament.

        Returns:
            What was done and tried.
        """
        options = self._options
        if isinstance(options, OptimizeOptions) and options.tune:
            with clock.stage("tune"):
                lowered = run_tuned(
                    model,
                    target=options.target,
                    rules=options.rules,
                    on_trial=lambda number, count: clock.tell(f"tune {number + 1}/{count}"),
                )
        else:
            with clock.stage("lower"):
                how: dict[str, Any] = {} if self.is_trusted else {"tensorrt": self.tensorrt}
                lowered = lowering.lower(model, target=options.target, rules=options.rules, **how)
        self.notes = self.notes or tuple(self._notes(lowered))
        return lowered

    def _notes(self, lowered: Lowered) -> list[str]:
        device = self._device
        if not self.is_trusted:
            left_out = f"; left out: {', '.join(lowered.left_out)}" if lowered.left_out else ""
            title = f" ({device.title})" if device else ""
            return [
                _DOCUMENTED.format(version=self.tensorrt, device=title, left_out=left_out)
            ]  # fmt: skip
        older = [row.tensorrt for row in device.jetpack if not is_rtx_generation(row.tensorrt)] if (
            device and self._options.tensorrt is None
        ) else []  # fmt: skip
        if not older or device is None or device.newest_jetpack is None:
            return []
        newest = device.newest_jetpack
        return [
            _OLDER.format(
                tensorrt=newest.tensorrt,
                jetpack=newest.jetpack,
                title=device.title,
                older=" or ".join(reversed(older)),
            )
        ]


def _device(options: OptimizeOptions | ExportOptions) -> DeviceProfile | None:
    """Return the device that TensorRT is lowered for, if one is named."""
    if options.device is None:
        return None
    device = find(options.device)
    if options.target != "tensorrt":
        return None
    if device.kind == "cpu":
        raise InputError(
            f"{device.title} runs no TensorRT engine.", mend="Add --target onnxruntime."
        )
    return device
