"""Observes one forward pass: which modules are called, on what, and how values flow.

Nothing here depends on an architecture. Hooks see the module calls, and a torch function mode sees
the operations between them (a functional `relu`, `x += shortcut`), so that residual branches are
found by following values and not by the names of modules.
"""

from __future__ import annotations

import inspect
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from edgeattn.base.errors import EdgeattnError, InputError, first_line
from edgeattn.models import flow
from edgeattn.models.trace import Call, Operation, Trace
from edgeattn.options.shapes import Shape

#: What only moves an input before it is computed with.
_LAYOUTS: Final = (["permute"], ["transpose"], ["contiguous"], ["unsqueeze"], ["reshape"], ["view"])
#: What leads from an output to one inside of it, and has a name.
_NAMES: Final = (_pytree.MappingKey, _pytree.GetAttrKey)
#: What of an error says that a type does not fit.
_OF_TYPES: Final = re.compile(
    r"dtype|scalar type|\bu?int\d|\bfloat\d|Long|Byte|Bool|bytes", re.IGNORECASE
)


def probe(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Trace:
    """Run `module` once on `inputs`, in eval mode and without gradients, and observe it.

    Args:
        module: The model; left in the mode and with the hooks that it had.
        inputs: Its example inputs.

    Returns:
        The trace.

    Raises:
        InputError: The model fails on these inputs (names the module that failed), or returns no
            tensor.
    """
    observer = _Observer()
    inputs = [tensor.clone() for tensor in inputs]  # a model may change them in place
    with ExitStack() as stack:
        stack.enter_context(_evaluating(module))
        for path, child in module.named_modules():
            before = child.register_forward_pre_hook(observer.enter(path), with_kwargs=True)
            after = child.register_forward_hook(observer.leave(path))
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.enter_context(torch.no_grad())
        for tensor in inputs:
            observer.source(tensor)
        try:
            with observer:
                outputs = module(*inputs)
        except EdgeattnError:
            raise
        except Exception as error:  # anything that a user's model raises is about this input
            raise _failed(module, inputs, observer, error) from error
    check_outputs(outputs)
    observer.trace.keys = keys_of(outputs)
    return observer.trace


def gives_numbers(module: nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Return whether a module, in eval mode, gives finite numbers for inputs."""
    try:
        with _evaluating(module), torch.no_grad():
            outputs = list(_tensors(module(*(tensor.clone() for tensor in inputs))))
    except Exception:  # noqa: BLE001 - whatever a user's model raises, it does not take them
        return False
    return all(bool(torch.isfinite(one).all()) for one in outputs if one.is_floating_point())


def made_float(trace: Trace, inputs: Sequence[torch.Tensor]) -> list[str]:
    """Say of which float inputs the model first makes floats, as if it were given whole numbers."""
    notes = []
    for number, tensor in enumerate(inputs):
        value = number
        while [one.name for one in trace.readers(value)] in _LAYOUTS:
            (value,) = trace.readers(value)[0].outputs
        if tensor.dtype == torch.float32 and any(
            reader.name == "float" for reader in trace.readers(value)
        ):
            shape = Shape(tensor.shape, "uint8")
            notes.append(
                f"the model makes floats of input {number} itself, and was given floats: if whole"
                f" numbers go in where it runs, such as a camera's bytes, say so: --shape {shape}"
            )
    return notes


def check_outputs(outputs: Any) -> None:
    """Refuse a model whose output cannot be exported.

    Raises:
        InputError: The output holds no tensor, or something besides tensors.
    """
    leaves = [leaf for leaf in _pytree.tree_leaves(outputs) if leaf is not None]
    other = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
    if other or not leaves:
        what = f"a value of type {type(other[0]).__name__}" if other else "no tensor"
        raise InputError(
            f"the model gives {what}, which ONNX has no output for",
            mend="Its forward must return a tensor, or tuples, lists or dicts of tensors.",
        )


def keys_of(outputs: Any) -> tuple[str, ...]:
    """Return what dictionaries and named tuples call the outputs in them; empty if none does.

    Those beside them, and those in a list inside, are called by their places: `output_1`, `maps_0`.
    """
    leaves, _ = _pytree.tree_flatten_with_path(outputs)
    places = [path for path, leaf in leaves if leaf is not None]
    if not any(isinstance(key, _NAMES) for path in places for key in path):
        return ()
    names = ["_".join(_written(key) for key in path) for path in places]
    names = [f"output_{name}" if name[:1].isdigit() else name for name in names]
    return tuple(names) if len({*names}) == len(names) and all(names) else ()


def _written(key: Any) -> str:
    if isinstance(key, _pytree.SequenceKey):
        return str(key.idx)
    return str(getattr(key, "key", getattr(key, "name", "")))


class _Observer(TorchFunctionMode):
    """Gives every tensor a number, and records which operation made which from which."""

    def __init__(self) -> None:
        super().__init__()
        self.trace = Trace()
        self.stack: list[tuple[str, tuple[int, ...], int]] = []
        # Tensors are recognised by identity, and not kept: an id is reused once its tensor died.
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}

    def source(self, tensor: torch.Tensor) -> None:
        """Take `tensor` as an input of the model."""
        self._define(tensor, flow.Value.of_input(tuple(tensor.shape)))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        inputs = self._numbers((args, options))
        result = func(*args, **options)
        if inputs:
            self._operation(flow.name_of(func), args, options, inputs, list(_tensors(result)))
        return result

    def enter(self, path: str) -> Callable[..., None]:
        """Return a hook for the beginning of a call of the module at `path`."""

        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            self.stack.append((path, self._numbers((args, kwargs)), len(self.trace.operations)))

        return hook

    def leave(self, path: str) -> Callable[..., None]:
        """Return a hook for the end of that call."""

        def hook(module: nn.Module, _: Any, output: Any) -> None:
            _, inputs, first = self.stack.pop()
            tensors = list(_tensors(output))
            if inputs and any(self._number(tensor) is None for tensor in tensors):
                # Something out of sight made it (a scripted function): one opaque operation.
                self._operation("opaque", (), {}, inputs, tensors, path)
            numbers = tuple(n for n in map(self._number, tensors) if n is not None)
            last = len(self.trace.operations)
            self.trace.calls.append(
                Call(
                    path=path,
                    module=module,
                    inputs=inputs,
                    outputs=numbers,
                    first=first,
                    last=last,
                )
            )

        return hook

    def _operation(
        self,
        name: str,
        args: tuple[Any, ...],
        options: Mapping[str, Any],
        inputs: tuple[int, ...],
        results: list[torch.Tensor],
        path: str | None = None,
    ) -> None:
        if not results:
            return
        values = [self.trace.values[number] for number in sorted(inputs)]
        outputs = []
        for tensor in results:
            # A result that was known before was changed in place: from here on it is a new value.
            outputs.append(
                self._define(tensor, flow.infer(name, args, options, values, tuple(tensor.shape)))
            )
            self.trace.producers[outputs[-1]] = len(self.trace.operations)
        owner = path if path is not None else self.stack[-1][0] if self.stack else ""
        self.trace.operations.append(
            Operation(name=name, path=owner, inputs=inputs, outputs=tuple(outputs))
        )

    def _define(self, tensor: torch.Tensor, value: flow.Value) -> int:
        number = len(self.trace.values)
        self.trace.values.append(value)
        self._known[id(tensor)] = (weakref.ref(tensor), number)
        return number

    def _number(self, tensor: torch.Tensor) -> int | None:
        reference, number = self._known.get(id(tensor), (None, 0))
        return number if reference is not None and reference() is tensor else None

    def _numbers(self, nested: Any) -> tuple[int, ...]:
        return tuple(n for n in map(self._number, _tensors(nested)) if n is not None)


def _tensors(nested: Any) -> Iterator[torch.Tensor]:
    """Yield all tensors in nested tuples, lists and dicts, in order."""
    if isinstance(nested, torch.Tensor):
        yield nested
    elif isinstance(nested, (tuple, list)):
        for item in nested:
            yield from _tensors(item)
    elif isinstance(nested, dict):
        for item in nested.values():
            yield from _tensors(item)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode; every module goes back to the mode that it had."""
    training = [child for child in module.modules() if child.training]
    for child in training:
        child.training = False
    try:
        yield
    finally:
        for child in training:
            child.training = True


def described(inputs: Sequence[torch.Tensor]) -> str:
    """Return the shapes of inputs, and their types where these are not float32."""
    return ", ".join(
        str(
            Shape(
                tensor.shape,
                "" if tensor.dtype == torch.float32 else str(tensor.dtype).removeprefix("torch."),
            )
        )
        for tensor in inputs
    )


def _failed(
    module: nn.Module, inputs: Sequence[torch.Tensor], observer: _Observer, error: Exception
) -> InputError:
    path = observer.stack[-1][0] if observer.stack else ""
    place = f"in {path} ({type(module.get_submodule(path)).__name__})" if path else "in its root"
    reason = first_line(error)
    try:
        inspect.signature(module.forward).bind(*inputs)
    except TypeError:  # it takes more inputs than it got, or fewer
        return InputError(
            f"the model does not take {len(inputs)} input{'s' * (len(inputs) != 1)}: {reason}",
            mend="Give --shape once per input.",
        )
    mend = "Give it an input that fits with --shape (NxCxHxW)."
    if _OF_TYPES.search(f"{type(error).__name__}: {reason}"):
        mend = "Give it an input of its shape and type, as in --shape 1x224x224x3:uint8."
    return InputError(
        f"the model fails on an input of {described(inputs)}, {place}: {reason}", mend=mend
    )
