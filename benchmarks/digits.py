"""Small networks with attention, trained on scikit-learn's digits: what a cast does to accuracy.

    python benchmarks/digits.py train [--attention se]   # writes benchmarks/digits/*.safetensors
    python benchmarks/digits.py images DIR               # DIR/train and DIR/val, a folder a class
    python benchmarks/digits.py table --work DIR [--json FILE]   # by edgeattn evaluate

A residual network of three blocks, 10 thousand parameters, with an attention at the end of each
block, on images of 16x16. The first 898 of the 1,797 images are trained on, and the other 899 are
never seen before the table: other hands wrote most of them. Any of the networks is exported by

    edgeattn export benchmarks/digits.py:make --shape 1x3x16x16 --at block-end --attention se
        --attention-arg reduction=4 --weights benchmarks/digits/se.safetensors

The table has the accuracy of each network in float32, half and int8, as torch writes it and lowered
for each target; half as a device stores it, every value rounded, and int8 calibrated on 128 images
that were trained on. The exit code is 1 where stock and lowered differ in an answer in float32, or
half loses more than 0.2 points or int8, in more than one network, more than 1 point.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from lowering_table import Column, Table, mark
from torch import Tensor, nn
from torch.nn import functional as F

#: Each attention and its options: widths are 8 and 16, and published ones would leave one of each.
ATTENTIONS: Final[dict[str, dict[str, str]]] = {
    "se": {"reduction": "4"},
    "eca": {},
    "simam": {},
    "cbam": {"reduction": "4"},
    "sa": {"groups": "2"},
    "ulsam": {"groups": "2"},
}
SIZE: Final = 16
#: What photos, brought to 0...1, are normalised by.
MEAN: Final = 0.5
STD: Final = 0.5
PIXELS: Final = {"mean": (MEAN,), "std": (STD,)}
WEIGHTS: Final = Path(__file__).parent / "digits"
_TRAINED_ON: Final = 898
_EPOCHS: Final = 30
_BATCH: Final = 64
_RATE: Final = 0.01
_SHIFT: Final = 2
_SAMPLES: Final = 128
PRECISIONS: Final = ("fp32", "fp16", "int8")
_HALF_MAY_LOSE: Final = 0.2
_INT8_MAY_LOSE: Final = 1.0

Array = npt.NDArray[Any]


class Block(nn.Module):
    """A residual block."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.short: nn.Module = nn.Identity()
        if stride > 1:
            self.short = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


class Net(nn.Module):
    """A network for images of 16x16 and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of `x: f32[N, 3, 16, 16]`."""
        y = self.blocks(F.relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(y.mean((2, 3)))
        return logits


def make() -> nn.Module:
    """Return the network without attention."""
    return Net()


def pictures() -> tuple[Array, Array]:
    """Return the 1,797 images `u8[N, 16, 16]`, and their classes."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grown = [
        np.asarray(Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        for one in (digits.images * 15).astype(np.uint8)
    ]
    return np.stack(grown), digits.target


def inputs(images: Array) -> Array:
    """Return images as the network takes them."""
    grey = (images.astype(np.float32) / 255 - MEAN) / STD
    return np.repeat(grey[:, None], 3, axis=1)


def split() -> tuple[Array, Array, Array, Array]:
    """Return inputs and classes: of the images that are trained on, and of the others."""
    images, classes = pictures()
    x = inputs(images)
    return x[:_TRAINED_ON], classes[:_TRAINED_ON], x[_TRAINED_ON:], classes[_TRAINED_ON:]


def request(attention: str, weights: Path | None = None, batch: int = 1) -> Any:
    """Return what is asked of edgeattn: the network with an attention at the end of each block."""
    from edgeattn import AttentionRequest, ModelRequest

    one = AttentionRequest(name=attention, at="block-end", options=ATTENTIONS[attention])
    return ModelRequest(
        source=f"{__file__}:make",
        attentions=(one,),
        shapes=((batch, 3, SIZE, SIZE),),
        weights=weights,
    )


def train(attention: str) -> str:
    """Train a network, write its weights, and return a line on it."""
    from safetensors.torch import save_file

    from edgeattn.models.build import build

    begun = time.perf_counter()
    module = build(request(attention)).module
    for child in module.modules():
        child.training = True
    module.requires_grad_(requires_grad=True)
    x, classes, other_x, other = (torch.from_numpy(one) for one in split())
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=0.01)
    steps = _EPOCHS * math.ceil(len(x) / _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
            optimiser.zero_grad()
            loss = F.cross_entropy(module(_shifted(x[rows], generator)), classes[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    module.eval()
    with torch.no_grad():
        right = int((module(other_x).argmax(1) == other).sum())
    WEIGHTS.mkdir(exist_ok=True)
    path = WEIGHTS / f"{attention}.safetensors"
    counts = "num_batches_tracked"  # which serves training alone
    kept = {name: value for name, value in module.state_dict().items() if counts not in name}
    save_file(kept, path)
    spent = time.perf_counter() - begun
    return (
        f"{attention:6} {right} of {len(other)} right, {path.stat().st_size} bytes, {spent:.0f} s"
    )


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to two pixels."""
    padded = F.pad(x, [_SHIFT] * 4, value=-1.0)
    at = torch.randint(2 * _SHIFT + 1, (len(x), 2), generator=generator).tolist()
    cut = [
        image[:, top : top + SIZE, left : left + SIZE]
        for image, (top, left) in zip(padded, at, strict=True)
    ]
    return torch.stack(cut)


def write_images(folder: Path) -> None:
    """Write the images as PNG files, in a folder a class under `train` and `val`."""
    from PIL import Image

    images, classes = pictures()
    for number, (image, digit) in enumerate(zip(images, classes, strict=True)):
        part = folder / ("train" if number < _TRAINED_ON else "val") / str(digit)
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(part / f"{number:04}.png")


def files(attention: str, work: Path) -> tuple[dict[tuple[str, str], Path], list[str]]:
    """Write a network's files, and the images.

    Returns:
        The files by precision and form (stock, or a target), and the targets that left all as it
        was.
    """
    import edgeattn
    from edgeattn.lowering.target import TARGETS

    write_images(work)
    forms = ("stock", *TARGETS)
    paths = {(k, f): work / f"{attention}.{f}.{k}.onnx" for k in PRECISIONS for f in forms}
    stock = paths["fp32", "stock"]
    edgeattn.export_model(
        request(attention, WEIGHTS / f"{attention}.safetensors"),
        edgeattn.ExportOptions(dynamic_batch=True, lower=False),
        stock,
    )
    unchanged = []
    for target in TARGETS:
        options = edgeattn.OptimizeOptions(target=target)
        if not edgeattn.optimize_model(stock, options, paths["fp32", target]).rewrites:
            unchanged.append(target)
    data = {"calibration": str(work / "train"), "samples": _SAMPLES, "pixels": PIXELS}
    for (kind, form), path in paths.items():
        if kind != "fp32":
            cast = edgeattn.CastOptions(precision=kind, **data)
            edgeattn.cast_model(paths["fp32", form], cast, path)
    return paths, unchanged


def row(attention: str, work: Path) -> dict[str, Any]:
    """Return how often a network's files are right, in per cent, and against float32's."""
    from edgeattn.options.evaluate import EvaluateOptions
    from edgeattn.workflows.evaluate import evaluate

    paths, unchanged = files(attention, work)
    options = EvaluateOptions(data=work / "val", pixels=PIXELS, threads=1)
    found = evaluate(list(paths.values()), options)
    judged: dict[str, dict[str, Any]] = {kind: {} for kind in PRECISIONS}
    for (kind, form), one in zip(paths, found.models, strict=True):
        judged[kind][form] = one
    worst = {kind: min(of.values(), key=lambda one: one.top1) for kind, of in judged.items()}
    agreement = {
        kind: min(100.0 if one.agreement is None else one.agreement for one in of.values())
        for kind, of in judged.items()
    }
    return {
        "attention": attention,
        "images": found.images,
        **{kind: {form: one.top1 for form, one in of.items()} for kind, of in judged.items()},
        "unchanged": unchanged,
        "agreement": agreement,
        "change": {kind: one.change or 0.0 for kind, one in worst.items()},
        "interval": worst["int8"].interval,
    }


def table(work: Path) -> Table:
    """Make the table."""
    rows = [row(attention, work) for attention in ATTENTIONS]
    beyond = sum(one["change"]["int8"] < -_INT8_MAY_LOSE for one in rows)
    for one in rows:
        is_kept = beyond < 2 or one["change"]["int8"] >= -_INT8_MAY_LOSE
        is_same = one["agreement"]["fp32"] == 100.0
        one["met"] = is_same and one["change"]["fp16"] >= -_HALF_MAY_LOSE and is_kept
    images = rows[0]["images"]
    unchanged = [f"{one['attention']} for {target}" for one in rows for target in one["unchanged"]]
    return Table(
        title=f"Accuracy on {images} digits, per cent: as torch writes it, and lowered",
        columns=(
            Column(key="attention", heading="attention"),
            *(Column(key=kind, heading=kind, show=_percent) for kind in PRECISIONS),
            Column(key="interval", heading="int8's change, points", show=_points),
            Column(key="agreement", heading="answers as fp32's", show=_shares),
            Column(key="met", heading="reached", show=mark),
        ),
        rows=rows,
        notes=(
            f"Lowered for each target: the least and the most. One image is {100 / images:.2f}.",
            "The change (paired, 95 %) and the shares of equal answers are the worst file's.",
            f"Lowering left all as it was: {', '.join(unchanged) or 'nowhere'}.",
        ),
    )


def _percent(top1: dict[str, float]) -> str:
    stock, *lowered = (f"{one:.2f}" for one in top1.values())
    return f"{stock}, {' to '.join(dict.fromkeys([min(lowered), max(lowered)]))}"


def _points(interval: tuple[float, float]) -> str:
    return " to ".join(f"{one:+.2f}" for one in interval)


def _shares(agreement: dict[str, float]) -> str:
    return ", ".join(f"{share:.2f}" for share in agreement.values())


def main() -> int:
    """Do what is asked."""
    text = __doc__ or ""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    trained = tasks.add_parser("train")
    trained.add_argument("--attention", choices=list(ATTENTIONS), action="append")
    tasks.add_parser("images").add_argument("folder", type=Path)
    shown = tasks.add_parser("table")
    shown.add_argument("--work", type=Path, required=True, help="folder of the files")
    shown.add_argument("--json", type=Path, help="also write all values here")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # torch's, on its own workings
    if asked.task == "train":
        for attention in asked.attention or ATTENTIONS:
            print(train(attention), flush=True)
        return 0
    if asked.task == "images":
        write_images(asked.folder)
        return 0
    made = table(asked.work)
    print(made.to_markdown())
    if asked.json:
        asked.json.write_text(json.dumps(made.to_json(), indent=2) + "\n", encoding="utf-8")
    return 0 if made.is_met else 1


if __name__ == "__main__":
    sys.exit(main())
