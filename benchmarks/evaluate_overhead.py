"""Compares `edgeattn evaluate` with a plain ONNX Runtime loop, by images a second.

    python benchmarks/evaluate_overhead.py --work DIR [--images 10000] [--rounds 3] [--threads N]

The model (timm's mobilenetv3_small_100 with SE, of 10 classes and random weights, 128x128) and the
images (JPEG, 200x150) are made, once. The loop decodes, resizes and crops in as many threads, ahead
of a session that has as many too, and runs the same batches. The two run by turns, in fresh
processes; both must find the same accuracy. Printed are images a second, reading and running alone
and, in brackets, of the whole process; images for each second of the processor, which others on the
machine disturb less; and the median ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LOOP = """
import sys, time, json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, onnxruntime
from PIL import Image
model, data, threads, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
def read(path):
    image = Image.open(path).convert("RGB")
    w, h = image.size
    size = int(128 / 0.875 + 1e-6)
    image = image.resize((int(size * w / min(w, h)), int(size * h / min(w, h))), Image.BICUBIC)
    left, top = round((image.width - 128) / 2), round((image.height - 128) / 2)
    image = image.crop((left, top, left + 128, top + 128))
    return (np.asarray(image, np.float32).transpose(2, 0, 1) / 255 - mean) / std
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
paths = sorted(data.glob("*/*.jpg"))
labels = np.array([int(path.parent.name) for path in paths])
began = time.perf_counter()
right, found = 0, []
with ThreadPoolExecutor(threads) as pool:
    images = pool.map(read, paths)
    for start in range(0, len(paths), batch):
        part = np.stack([next(images) for _ in paths[start:start + batch]])
        found.append(session.run(None, {session.get_inputs()[0].name: part})[0].argmax(1))
seconds = time.perf_counter() - began
right = int((np.concatenate(found) == labels).sum())
print(json.dumps({"images_per_s": len(paths) / seconds, "top1": 100 * right / len(paths)}))
"""


def main() -> int:
    """Make what is needed, run both by turns, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=8)
    asked = parser.parse_args()
    edgeattn = str(Path(sys.executable).parent / "edgeattn")
    model, data = asked.work / "model.onnx", asked.work / f"images-{asked.images}"
    asked.work.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        ask = "export timm:mobilenetv3_small_100 --num-classes 10 --shape 1x3x128x128"
        subprocess.run([edgeattn, *ask.split(), "--dynamic-batch", "-o", str(model)], check=True)
    make(data, asked.images)
    threads, batch = str(asked.threads), str(asked.batch)
    ours = [edgeattn, "evaluate", str(model), "--data", str(data), "--json"]
    ours += ["--threads", threads, "--batch", batch]
    loop = [sys.executable, "-c", LOOP, str(model), str(data), threads, batch]
    rates = {"ours": [], "loop": []}
    for number in range(asked.rounds):
        top1 = {}
        for name in ("ours", "loop") if number % 2 else ("loop", "ours"):
            began, spent_s = time.perf_counter(), processor_s()
            run = subprocess.run(
                ours if name == "ours" else loop, capture_output=True, text=True, check=True
            )
            whole = asked.images / (time.perf_counter() - began)
            said = json.loads(run.stdout)
            of_processor = asked.images / (processor_s() - spent_s)
            rates[name].append((said["images_per_s"], whole, of_processor))
            top1[name] = said["models"][0]["top1"] if name == "ours" else said["top1"]
        print(
            f"round {number + 1}: "
            + ", ".join(
                "{} {:.0f} ({:.0f}) images/s, {:.0f}/s of processor".format(k, *v[-1])
                for k, v in rates.items()
            )
            + f", top-1 {top1['ours']:.2f} % and {top1['loop']:.2f} %",
            flush=True,
        )
        assert abs(top1["ours"] - top1["loop"]) < 0.05
    for place, what in enumerate(("reading and running", "the whole process", "the processor")):
        pairs = zip(rates["ours"], rates["loop"], strict=True)
        ratio = statistics.median(one[place] / other[place] for one, other in pairs)
        print(f"{what}: {ratio:.2f} x the loop's images a second ({threads} threads)")
    return 0


def processor_s() -> float:
    """Return the seconds of the processor that processes took which have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def make(folder: Path, count: int) -> None:
    """Write images of ten classes, as photos are: smooth, with some noise."""
    import numpy as np
    from PIL import Image

    def write(number: int) -> None:
        path = folder / str(number % 10) / f"{number:05}.jpg"
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(number)
        smooth = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize((200, 150))
        values = np.asarray(smooth, np.int16) + draw.integers(-12, 13, (150, 200, 3))
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path, quality=90)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(count)))


if __name__ == "__main__":
    sys.exit(main())
