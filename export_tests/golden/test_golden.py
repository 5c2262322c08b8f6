"""JSON of every command, exit codes, what is written and every option stay as they are.

A story runs commands one after the other in an empty folder; each step is compared with
documents/STORY/STEP.json. `EDGEATTN_UPDATE_GOLDEN=1 python -m pytest -n0 -m '' export_tests/golden`
rewrites those: what changed is then for git to show, and for CHANGELOG to say.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeattn.cli import app
from export_tests.golden import views

HOME = Path(__file__).parent
ENGINE_FILES = HOME.parent / "engine" / "files"
MEASURED_ENGINE = "a100-80g-pcie_resnet18_b32_tf32"
UPDATE = bool(os.environ.get("EDGEATTN_UPDATE_GOLDEN"))
GPU = Path("/dev/nvidiactl").exists()

NET = "net.py:make -a simam --at block.bn1 --shape 1x3x16x16"
TIMED = "--limit 0.2 --threads 1"
RUN = "--layers engine/layers.json --profile engine/profile.json"


def forget(folder: Path) -> None:
    """Removes what says which nodes were kept in float32."""
    (folder / "half.json").unlink(missing_ok=True)


def change(folder: Path) -> None:
    """Makes an engine that is not the one that its manifest describes."""
    engine = folder / "a.sm86.engine"
    if engine.is_file():
        (folder / "changed.engine").write_bytes(engine.read_bytes() + b"x")
        shutil.copy(engine.with_suffix(".json"), folder / "changed.json")


@dataclass(frozen=True)
class Step:
    """A command, and how it is compared.

    Attributes:
        name: Its document.
        command: What stands after `edgeattn`, but for --json.
        view: What of its documents is the same on every run.
        before: What is made for it in the folder.
        without_gpu: Leave it out where a GPU is, which changes what is said.
    """

    name: str
    command: str
    view: Callable[[Any], Any] = views.literal
    before: Callable[[Path], None] = lambda _folder: None
    without_gpu: bool = False


@dataclass(frozen=True)
class Story:
    """Commands in one folder, and then commands that are refused.

    Attributes:
        steps: The commands.
        refused: Commands of which the exit code and the error are compared.
        needs: A library without which none of them works.
    """

    steps: tuple[Step, ...]
    refused: tuple[str, ...] = ()
    needs: str = "onnx"


EXPORT = Story(
    steps=(
        Step("lowered", f"export {NET} -o a.onnx"),
        Step("as-written", f"export {NET} -o stock.onnx --no-lower --no-simplify"),
        Step("opset-18", f"export {NET} --opset 18 --dynamic-batch --no-simplify -o b18.onnx"),
        Step("plain", "export net.py:make --model-arg width=8 --shape 1x3x16x16 --no-simplify"),
        Step(
            "fp16",
            f"export {NET} --precision fp16 --keep-fp32 head --no-simplify --target onnxruntime"
            " --rules -head-pool --input-name image --output-name scores",
        ),
        Step("optimized", "optimize stock.onnx -o lowered.onnx --no-simplify"),
        Step("optimized-for-onnxruntime", "optimize stock.onnx -o ort.onnx --target onnxruntime"),
        Step("legalised", "optimize b18.onnx -o b17.onnx --opset 17 --no-simplify --rules gate"),
        Step("cast-to-fp16", "cast stock.onnx -o half.onnx --precision fp16 --half-io"),
        Step(
            "cast-to-int8",
            "cast stock.onnx -o int8.onnx --precision int8 --calibration random --samples 2",
        ),
        Step("parity", "parity a.onnx stock.onnx"),
        Step("parity-of-fp16", "parity half.onnx stock.onnx"),
        Step("parity-that-fails", "parity net-make.onnx stock.onnx"),
        Step("parity-with-a-model", f"parity a.onnx --reference {NET}"),
        Step("ladder-of-a-model", f"parity {NET} --ladder --precision fp16", without_gpu=True),
        Step("ladder-of-a-file", "parity stock.onnx --ladder", without_gpu=True),
    ),
    refused=(
        "export net.py:make -a sse",
        "export net.py:make --shape 1x3",
        "export net.py:nothing",
        "export missing.py:make",
        "export no_such_model",
        "export net.py:make -o /no/such/folder/a.onnx",
        "export net.py:make -o a.pb",
        "export net.py:make --weights missing.pth",
        "export net.py:make --model-arg widht=3 --shape 1x3x16x16",
        "export net.py:make -a se --at nowhere.* --shape 1x3x16x16",
        "export net.py:make -a se -a se",
        "export net.py:make -a se --attention-arg reductoin=4",
        "export net.py:make --at block",
        "export net.py:make --precision int8 --shape 1x3x16x16",
        "export net.py:make --precision fp8",
        "export net.py:make --half-io",
        "export net.py:make --no-lower --target onnxruntime",
        "export net.py:make --rules +a,b",
        "export net.py:make --rules -glbal-mean",
        "export net.py:make --target tpu --shape 1x3x16x16",
        "export net.py:make --opset 12",
        "export net.py:make --opsett 17",
        "export",
        "optimize missing.onnx -o x.onnx",
        "optimize net.py -o x.onnx",
        "optimize stock.onnx",
        "optimize stock.onnx -o stock.onnx",
        "optimize stock.onnx -o x.pb",
        "optimize stock.onnx -o x.onnx --rules nothing",
        "cast stock.onnx -o x.onnx",
        "cast stock.onnx -o x.onnx --precision int8",
        "cast stock.onnx -o x.onnx --precision fp16 --min-sqnr 150",
        "cast stock.onnx -o x.onnx --precision fp16 --keep-fp32 nowhere",
        "parity stock.onnx",
        "parity stock.onnx missing.onnx",
        "parity stock.onnx half.onnx --attention se",
        "parity stock.onnx half.onnx --precision fp16",
        "parity stock.onnx half.onnx --ladder",
        "parity stock.onnx --ladder --min-sqnr 30",
        "parity stock.onnx half.onnx --input missing.npy",
        "parity missing.engine",
    ),
)

ENGINES = Story(
    needs="tensorrt_rtx",
    steps=(
        Step("exported", f"export {NET} -o a.onnx --no-simplify", views.hidden),
        Step(
            "exported-as-written", f"export {NET} -o b.onnx --no-simplify --no-lower", views.hidden
        ),
        Step("cast", "cast a.onnx -o half.onnx --precision fp16 --keep-fp32 stem", views.hidden),
        Step("built", "build a.onnx --compute-capability 8.6 --log log.txt"),
        Step("built-as-written", "build b.onnx --compute-capability 8.6 -o b.engine"),
        Step("built-in-fp16", "build half.onnx --precision fp16 --compute-capability 8.6"),
        Step(
            "built-in-another-precision",
            "build half.onnx --precision fp16 --compute-capability 8.6 -o other.engine",
            before=forget,
        ),
        Step("plan", "build a.onnx --device jetson --plan"),
        Step(
            "built-of-a-model",
            "build net.py:make --shape 1x3x16x16 --precision fp16 --device rtx-4090 --no-simplify",
        ),
        Step("inspected", "inspect a.sm86.engine"),
        Step("inspected-manifest", "inspect a.sm86.json --sort bytes"),
        Step("inspected-log", "inspect log.txt"),
        Step("difference", "inspect a.sm86.engine --diff b.engine"),
        Step("inspected-after-a-change", "inspect changed.engine", before=change),
        Step("parity", "parity a.sm86.engine", without_gpu=True),
        Step("profiled", "profile a.sm86.engine --runtime tensorrt-rtx", without_gpu=True),
        Step("predicted", "profile a.onnx --device jetson -o predicted.json"),
        Step(
            "predicted-in-7W",
            "profile a.plan-sm86.engine --device jetson --power-mode 7W -o plan.json",
        ),
        Step(
            "report",
            "report predicted.json -o again.json --report page.html --trace events.json"
            " --figure all.svg --figure roofline=roof.png --export-profile profile.json",
        ),
        Step(
            "compared",
            "compare net.py:make --attention se,sa --attention-arg sa.groups=5 --at block.bn1"
            " --shape 1x3x16x16 --device rtx-3090 --no-simplify",
        ),
    ),
    refused=(
        "build a.onnx --device jetson",
        "build a.onnx --device jetsonn",
        "build a.onnx --compute-capability 8.x",
        "build a.onnx --compute-capability 3.5",
        "build a.onnx --runtime tensort --device rtx-3090",
        "build a.onnx --runtime tensorrt --device rtx-3090",
        "build a.onnx --device raspberry-pi-5",
        "build a.onnx --device jetson --plan -o p.engine",
        "build a.onnx --device rtx-3090 --attention se",
        "build a.onnx --device rtx-3090 --precision int8",
        "build a.onnx --device rtx-3090 --dla 0",
        "build a.onnx --device rtx-3090 --min-shapes input:1x3x16x16",
        "build missing.onnx --device rtx-3090",
        "build net.py --device rtx-3090",
        "inspect missing.engine",
        "inspect net.py",
        "inspect a.sm86.engine --profile 3",
        "inspect a.sm86.engine --point middle",
        "inspect a.sm86.engine --diff missing.engine",
        "parity changed.engine",
        "parity a.sm86.engine --reference net.py:make",
        "profile a.onnx --device jetson-orin-nanno",
        "profile a.onnx --device jetson --power-mode 30W",
        "profile a.onnx --device missing.toml",
        "profile a.onnx --power-mode 15W",
        "profile a.onnx --runtime tensort",
        "profile a.onnx --runtime torch",
        "profile a.onnx --runtime onnxruntime --device jetson",
        "profile a.onnx --predict",
        "profile a.onnx --site *.nosuch",
        "profile a.onnx --shape 1x3x64x64",
        "profile a.onnx --attention se",
        "profile a.onnx --report /no/such/r.html",
        "profile a.onnx --figure a.pdf",
        "profile a.onnx --figure pie=a.svg",
        "profile a.onnx -o x --trace x",
        "profile a.onnx -o a.onnx",
        "profile a.sm86.engine --device raspberry-pi-5",
        "profile changed.engine",
        "profile missing.onnx",
        "profile net.py",
        "profile",
        "report missing.json",
        "report a.sm86.json",
        "report predicted.json -o predicted.json",
        "report predicted.json --export-times times.json",
        "report",
        "compare net.py:make",
        "compare net.py:make --attention se,simamm",
        "compare net.py:make --attention se --keep net.py",
        "compare no_such_model --attention se",
    ),
)

TRTEXEC = Story(
    steps=(
        Step("inspected", "inspect engine/layers.json"),
        Step("measured", f"profile {RUN} --device a100 -o measured.json"),
        Step("predicted", f"profile {RUN} --device a100 --predict -o predicted.json"),
        Step(
            "report",
            "report measured.json --trace events.json --export-profile profile2.json"
            " --export-layer-info layers2.json",
        ),
    ),
    refused=(
        "profile net.onnx --profile engine/profile.json",
        "profile --layers engine/layers.json --times times.json",
        "profile --layers missing.json --profile engine/profile.json",
        "profile --layers engine/layers.json",
        f"profile {RUN} --device no-such",
        f"profile {RUN} a.onnx --against b.onnx",
        f"profile {RUN} a.engine",
        "profile --layers engine/profile.json --profile engine/layers.json --device a100",
        "report measured.json --export-times times.json",
        "report engine/layers.json",
    ),
)

ONNXRUNTIME = Story(
    steps=(
        Step(
            "exported",
            f"export {NET} -o a.onnx --no-simplify --target onnxruntime",
            views.hidden,
        ),
        Step("predicted", "profile a.onnx --device raspberry-pi-5 --threads 1 -o predicted.json"),
        Step(
            "measured",
            f"profile a.onnx {TIMED} --no-marginal -o measured.json --trace events.json"
            " --export-times times.json --export-profile profile.json",
            views.shape,
        ),
    ),
)

MEASURED = Story(
    steps=(
        Step("torch", f"profile {NET} --runtime torch {TIMED}", views.shape),
        Step("with-identity", f"profile {NET} --no-simplify {TIMED}", views.shape),
        Step(
            "against-another",
            f"profile net.py:make --against {NET} --no-simplify --no-marginal {TIMED}",
            views.shape,
        ),
        Step(
            "compared",
            "compare net.py:make --attention none,simam --at block.bn1 --shape 1x3x16x16"
            f" --no-simplify {TIMED}",
            views.shape,
        ),
        Step("doctor", "doctor", views.doctor),
    ),
)

LISTS = Story(
    steps=(
        Step("devices", "devices list"),
        Step("a-jetson", "devices show jetson", views.whole),
        Step("a-jetson-in-7W", "devices show jetson --power-mode 7W"),
        Step("a-cpu", "devices show raspberry-pi-5", views.whole),
        Step("attentions", "list attentions", views.whole),
        Step("models", "list models ghostnet_*"),
        Step("rules", "list rules", views.whole),
    ),
    refused=(
        "devices show jetson-orin-x",
        "devices show jetson --power-mode 30W",
        "devices show rtx-3090 --power-mode 15W",
        "devices show missing.toml",
        "devices show net.py",
        "devices show",
        "devices calibrate -o net.py",
        "devices calibrate --threads 0",
        "devices",
        "list models no_such_model",
        "list modells",
        "doctor now",
        "exprot",
        "--nothing",
    ),
)

STORIES = {
    "export": EXPORT,
    "engines": ENGINES,
    "trtexec": TRTEXEC,
    "onnxruntime": ONNXRUNTIME,
    "lists": LISTS,
    "measured": MEASURED,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder but for a network, and for what trtexec wrote of an engine."""
    shutil.copy(HOME / "net.py", tmp_path)
    (tmp_path / "engine").mkdir()
    for what in ("layers", "profile"):
        packed = (ENGINE_FILES / f"{MEASURED_ENGINE}.{what}.json.gz").read_bytes()
        (tmp_path / "engine" / f"{what}.json").write_bytes(gzip.decompress(packed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    """What tells a file that was written from one that was not."""
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def run(capsys, command):
    """Runs a command; gives its exit code, its JSON, and what it said on stderr."""
    capsys.readouterr()
    code = app.run([*shlex.split(command), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def done(capsys, folder, step, known):
    """Runs a step; gives what is compared, by its difference from what is known already."""
    step.before(folder)
    before = contents(folder)
    code, document, told = run(capsys, step.command)
    found = {
        "command": step.command,
        "exit_code": code,
        "stderr": views.literal(told),
        "stdout": views.shortened(step.name, step.view(document), known),
        "written": {},
    }
    for path, state in sorted(contents(folder).items()):
        if path.is_file() and before.get(path) != state:
            name = str(path.relative_to(folder))
            found["written"][name] = views.shortened(name, views.read(path, step.view), known)
    return found


def refused(capsys, folder, command):
    """Runs a command that is refused; gives its error and exit code."""
    before = contents(folder)
    code, document, told = run(capsys, command)
    error = document.get("error", {"fact": "It was not refused.", "mend": "", "exit_code": code})
    lines = "\n".join([f"error: {error['fact']}", *filter(None, [error["mend"]])])
    assert told == f"{lines}\n"
    assert contents(folder) == before
    return {"exit_code": code, **views.literal(error)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            one, marks=[pytest.mark.slow] * (one in ("measured", "engines", "onnxruntime"))
        )
        for one in STORIES
    ],
)
def test_what_a_story_says_and_writes(capsys, folder, name):
    story = STORIES[name]
    pytest.importorskip(story.needs)
    documents = HOME / "documents" / name
    known = {}
    found = {
        step.name: done(capsys, folder, step, known)
        for step in story.steps
        if not (GPU and step.without_gpu)
    }
    if story.refused:
        found["refused"] = {one: refused(capsys, folder, one) for one in story.refused}
    differences = [
        views.compare(documents / f"{step}.json", document, update=UPDATE)
        for step, document in found.items()
    ]
    assert not any(differences), "\n".join(["", *filter(None, differences)])
    kept = {step.name for step in story.steps} | ({"refused"} if story.refused else set())
    assert {path.stem for path in documents.iterdir()} == kept


def help_of(capsys, *words):
    """What --help says of a command: its sections, each row by its first column."""
    assert app.run([*words, "--help"]) == 0
    said = capsys.readouterr().out
    sections = re.split(r"^(\w+):\n", said, flags=re.MULTILINE)
    rows = {
        title: dict(re.findall(r"^  (\S.*?)(?: {2,}|\n +)((?:.|\n   )*)", text, flags=re.MULTILINE))
        for title, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    usage = " ".join(sections[0].splitlines()[0].split()[1:])
    return usage, rows


def test_options(capsys):
    """Names, types and defaults of options; their words are free to change."""
    found = {}
    left = [()]
    while left:
        words = left.pop(0)
        usage, rows = help_of(capsys, *words)
        left += [(*words, name) for name in rows.pop("Commands", {})]
        found[usage] = {
            title: {
                name: re.findall(r"\[[^]]*\]", re.sub(r"\s+", " ", text))
                for name, text in one.items()
            }
            for title, one in rows.items()
        }
    difference = views.compare(HOME / "documents" / "options.json", found, update=UPDATE)
    assert not difference, difference
