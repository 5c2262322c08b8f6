"""Takes off a model what training put around it, and refuses what is no plain torch model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from edgeattn.base.errors import InputError

#: torch's modules that compute what the one inside does, by class; the attribute that holds it.
_WRAPPERS: Final = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
}
_QUANTISED: Final = ("torch.ao.nn.", "torch.ao.quantization.", "torch.nn.quantized.", "torchao.")
#: Modules of torch.ao that compute in float32, and belong to its quantisation all the same.
_HARMLESS: Final = ("QuantStub", "DeQuantStub", "QuantWrapper", "NonDynamicallyQuantizableLinear")


def unwrapped(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """Take wrappers for training and compiling off a model, wherever they are.

    Returns:
        The model, and what was taken off where, in words.
    """
    notes: list[str] = []

    def bare(child: nn.Module, prefix: str) -> nn.Module:
        while (attribute := _inside(child)) is not None:
            where = f" at {prefix[:-1]}" if prefix else ""
            notes.append(f"{type(child).__name__}{where} was taken off the model")
            child = getattr(child, attribute)
        return child

    root = bare(module, "")
    # Modules are visited while their children are replaced, so that wrappers in wrappers are found.
    for path, parent in root.named_modules():
        children = parent._modules  # noqa: SLF001 - named_children leaves a second name out
        for name, child in children.items():
            if child is not None and _inside(child) is not None:
                children[name] = bare(child, f"{path}.{name}." if path else f"{name}.")
        if getattr(parent, "_compiled_call_impl", None) is not None:  # of module.compile()
            parent._compiled_call_impl = None  # noqa: SLF001 - torch has no other way back
    return root, notes


def check(module: nn.Module) -> None:
    """Refuse a model that cannot be traced, or has no values.

    Raises:
        InputError: A part of it is scripted, quantised or without values: names the part.
    """
    for path, child in module.named_modules():
        what = f"{path} ({_kind(child)})" if path else f"The model ({_kind(child)})"
        if isinstance(child, torch.jit.ScriptModule):
            raise InputError(
                f"{what} is TorchScript, which has no Python to trace.",
                mend="Give the class that it was scripted or traced from: leave torch.jit.script,"
                " torch.jit.trace and torch.jit.load out, and load its weights with --weights.",
            )
        if _is_of_quantisation(child):
            raise InputError(
                f"{what} is quantised by torch; models are exported in float32.",
                mend="Give the float model, and quantise its ONNX file: edgeattn cast"
                " --precision int8",
            )
    for name, tensor in _tensors(module):
        if tensor.is_meta and not nn.parameter.is_lazy(tensor):
            raise InputError(
                f"The model's {name} is on the device 'meta', and has no values.",
                mend="Build it without torch.device('meta'), and give weights with --weights FILE.",
            )
        is_wrapped: bool = is_traceable_wrapper_subclass(tensor)
        if tensor.is_quantized or is_wrapped:
            raise InputError(
                f"The model's {name} is a {type(tensor).__name__} of {tensor.dtype}, and no plain"
                " tensor of numbers.",
                mend="Give the model before it was quantised or sharded.",
            )


def on_cpu(module: nn.Module) -> str:
    """Bring a model to the CPU, where it is traced; return where it was, "" if it was there."""
    where = {str(tensor.device) for _, tensor in _tensors(module)} - {"cpu"}
    if where:
        module.to("cpu")
    return ", ".join(sorted(where))


def _inside(module: nn.Module) -> str | None:
    """Return the attribute that holds the module inside of a wrapper, None if it is no wrapper."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.") and kind.__name__ in _WRAPPERS:
            return _WRAPPERS[kind.__name__]
    return None


def _is_of_quantisation(module: nn.Module) -> bool:
    kind = type(module)
    return kind.__module__.startswith(_QUANTISED) and kind.__name__ not in _HARMLESS


def _kind(module: nn.Module) -> str:
    return str(getattr(module, "original_name", "") or type(module).__name__)


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    named: tuple[tuple[str, Callable[[], Iterator[tuple[str, torch.Tensor]]]], ...] = (
        ("parameter", module.named_parameters),
        ("buffer", module.named_buffers),
    )
    for kind, those in named:
        for name, tensor in those():
            yield f"{kind} {name}", tensor
