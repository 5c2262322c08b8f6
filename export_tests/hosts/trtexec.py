"""A stand-in for trtexec: it plays a version, is as strict about flags, and has no GPU.

No TensorRT is here, nor a Jetson. This program takes the command lines of a version of trtexec,
refuses every flag and combination that the version refuses, and writes the files that it is asked
for, in that version's shape and with names as they are, unescaped. All that it prints begins with
what it is. Nothing in edgeattn imports it, and it imports nothing of edgeattn: its flags are read
from trtexec's sources once more, so that a test that both agree means something.

Figures are not its own. What kernels take is what the four engines in `export_tests/engine/files`
took; of an ONNX file, each kernel takes what a measured one of its kind took, one after the other,
and latency is their sum, less what profiling added there. So a graph of fewer kernels is faster,
and runs vary as the measured ones did. With --loadInputs, outputs are true: ONNX Runtime's, of the
ONNX file that the engine holds, with six digits as trtexec writes them.
A test that needs a form to be fast or slow says so: `op_ms`, what a kernel of an operator takes.

A test installs it in a folder of the remote's PATH (`sshd.path`):

    from export_tests.hosts import trtexec
    trtexec.install(sshd.path, "8.5.2")                    # as `trtexec`
    trtexec.install(sshd.path, "10.3", fails="killed")     # another version in its place
    trtexec.install(sshd.path, "8.2.1", measured=trtexec.MEASURED[0])  # that engine's own files

Settings: `measured`, the name of an engine whose files are given out as they are, "" to make layers
from the ONNX file; `fails`, one of FAILURES; `capability`, of the GPU that is played; `spoils`, a
relative error of all outputs; `alters`, a weight that every build makes half as large again;
`lasts_s`, what a build and a run really last; `captures`, whether CUDA graphs can be captured;
`dla_cores`, how many DLA cores it has. A node of a domain of its own is refused without any
setting, and so is an engine of another version or capability.

What falls off a DLA is a table of operators here, and no truth: what is true is how a log says so.
The lines are those of logs that people published (docs/sources.md, "What trtexec does"): of
TensorRT 8.0, 8.5 and 10.3, of ResNet-50, YOLO and others, on Xavier and Orin.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import shlex
import signal
import sys
import time
from pathlib import Path

FILES = Path(__file__).resolve().parents[1] / "engine" / "files"
MEASURED = (
    "a100-80g-pcie_resnet18_b32_fp16",
    "a100-80g-pcie_resnet18_b32_tf32",
    "rtx3090_resnet50_b32_fp16",
    "titan-rtx_mobilenetv2-residuals_b1_int8",
)
#: What it can do wrong: memory that runs out while building, as an error of TensorRT's or by the
#: kernel's own hand; a build or a run that never ends; a disk without space.
FAILURES = ("memory", "killed", "hangs", "space")
VERSIONS = ("8.0.1", "8.2.1", "8.4.3", "8.5.2", "8.6.2", "9.3.0", "10.3.0", "10.13.3", "10.16.2",
            "11.1.0")  # fmt: skip
SAYS = "This is edgeattn's stand-in for trtexec: no GPU, no TensorRT, figures of other engines."

# Flags, by the versions from and before which they are known. With "=", a value belongs to one.
_END = (99,)
_FLAGS = {
    ((0,), _END): "onnx= saveEngine= loadEngine= shapes= minShapes= optShapes= maxShapes="
    " useCudaGraph separateProfileRun useSpinWait noDataTransfers dumpProfile exportProfile="
    " exportTimes= warmUp= duration= iterations= avgRuns= percentile= timingCacheFile="
    " useDLACore= allowGPUFallback device= verbose loadInputs= exportOutput= dumpOutput noTF32"
    " help",
    ((0,), (10,)): "explicitBatch workspace= buildOnly nvtxMode=",
    ((8, 2), _END): "exportLayerInfo= dumpLayerInfo profilingVerbosity= idleTime=",
    ((8, 4), _END): "memPoolSize=",
    ((8, 6), _END): "skipInference infStreams= builderOptimizationLevel= versionCompatible"
    " hardwareCompatibilityLevel= tempfileControls=",
    ((0,), (11,)): "fp16 int8 best calib=",
    ((8, 2), (11,)): "precisionConstraints=",
    ((9, 3), _END): "stronglyTyped",
    ((10, 16), _END): "reportCapabilityDLA adjustForDLA",
    ((11, 1), _END): "tuneBuildRoutes= includeDataTransfers noCudaGraph noSpinWait cpuOnly"
    " monitorMemory maxTactics=",
}
_NO_GRAPH = """\
The CUDA graph capture on the stream has failed.
The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.
The specified --useCudaGraph flag has been ignored. The inference will be launched without using \
CUDA graph launch.
"""
_MAGIC = b"ENGINE OF EDGEATTN'S STAND-IN FOR TRTEXEC\n"
_KINDS = {"Conv": "CaskConvolution", "ConvTranspose": "CaskDeconvolution", "Gemm": "CaskGemm",
          "MatMul": "CaskGemm", "Relu": "PointWiseV2"}  # fmt: skip
_POOLS = ("GlobalAveragePool", "AveragePool", "MaxPool", "GlobalMaxPool")
_MOVES = ("Transpose", "Reshape", "Concat", "Slice", "Split", "Flatten", "Squeeze", "Unsqueeze")
# Operators that fall off a DLA, here: what kind of layer they are, and what is said of it.
_OFF_DLA = {
    "GlobalAveragePool": ("REDUCE", "DLA cores do not support AVG Reduce operation."),
    "ReduceMean": ("REDUCE", "DLA cores do not support AVG Reduce operation."),
    "Pow": ("ELEMENTWISE", "DLA cores do not support POW ElementWise operation."),
    "Div": ("ELEMENTWISE", "DLA cores do not support DIV ElementWise operation."),
    "Sqrt": ("UNARY", "DLA cores do not support SQRT Unary operation."),
    "Flatten": ("SHUFFLE", ""),
    "Unsqueeze": ("SHUFFLE", ""),
    "MatMul": ("MATRIX_MULTIPLY", ""),
}
_SUBGRAPHS = 16
_TYPES = {1: ("FP32", "Float"), 10: ("FP16", "Half"), 3: ("Int8", "Int8"), 6: ("Int32", "Int32"),
          7: ("Int64", "Int64"), 9: ("Bool", "Bool")}  # fmt: skip


def install(folder, version, **settings):
    """Writes it into a folder as `trtexec`; returns the program's path."""
    assert version in VERSIONS or f"{version}.0" in VERSIONS, f"{version} is not played"
    assert settings.get("fails", "") in ("", *FAILURES)
    path = Path(folder) / "trtexec"
    said = json.dumps({"version": version, **settings})
    command = map(shlex.quote, [sys.executable, "-E", str(Path(__file__).resolve()), said])
    path.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
    path.chmod(0o755)
    return path


class RefusedError(Exception):
    """What trtexec refuses, in its words: a message a line, further lines begin with a tab."""


class Played:
    def __init__(self, version, *, measured="", fails="", capability="8.7", spoils=0.0,
                 lasts_s=0.0, captures=True, op_ms=(), alters="", dla_cores=0):  # fmt: skip
        self.version = tuple(map(int, version.split(".")))
        self.measured, self.fails, self.capability = measured, fails, capability
        self.spoils, self.lasts_s, self.captures = spoils, lasts_s, captures
        self.op_ms, self.alters, self.dla_cores = dict(op_ms), alters, dla_cores
        parts = (*self.version, 0)[:3]
        weights = (10000, 100, 1) if self.version >= (10,) else (1000, 100, 1)
        self.number = sum(part * weight for part, weight in zip(parts, weights, strict=True))
        self.runs = False
        self.tag = f"[TensorRT v{self.number}]"
        self.flags = {
            flag.rstrip("="): flag.endswith("=")
            for (since, until), flags in _FLAGS.items()
            if since <= self.version < until
            for flag in flags.split()
        }

    def log(self, severity, text):
        self.say(f"{time.strftime('[%m/%d/%Y-%H:%M:%S]')} [{severity}] {text}")

    def say(self, text):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def main(self, arguments):
        told = f"TensorRT.trtexec {self.tag} # trtexec {' '.join(arguments)}"
        self.say(f"&&&& RUNNING {told}")
        self.log("I", SAYS)
        try:
            options = self.parsed(arguments)
            if "help" in options:
                self.help()
                return 0
            self.runs = True
            self.run(options)
        except RefusedError as error:
            self.errors(str(error))
            if self.version < (11,) or self.runs:  # from 11 on, flags are refused without it
                self.say(f"&&&& FAILED {told}")
            return 1
        self.say(f"&&&& PASSED {told}")
        return 0

    def errors(self, text):
        for message in text.replace("\n\t", "\t").split("\n"):
            self.log("E", message.replace("\t", "\n"))

    def help(self):
        self.say("=== Build Options ===")
        for flag, has_value in self.flags.items():
            self.say(f"  --{flag}{'=<value>' if has_value else ''}")

    def parsed(self, arguments):
        options, unknown = {}, []
        for argument in arguments:
            flag, equals, value = argument.partition("=")
            name = "help" if flag == "-h" else flag.removeprefix("--")
            if name not in self.flags or not flag.startswith("-"):
                unknown.append(f"Unknown option: {flag} {value}")
            elif self.flags[name] != bool(equals) or name in options:
                raise RefusedError(f"Invalid use of {flag}")
            options[name] = value
        if unknown:
            self.help()
            raise RefusedError("\n".join(unknown))
        if "help" not in options:
            self.check(options)
            self.check_values(options)
            self.warn(options)
        return options

    def check(self, options):
        if "loadEngine" in options and "saveEngine" in options:
            raise RefusedError("Incompatible load and save engine options selected")
        if not {"onnx", "loadEngine"} & set(options):
            raise RefusedError("Model missing or format not recognized")
        given = [name in options for name in ("minShapes", "optShapes", "maxShapes")]
        if given not in ([False] * 3, [False, True, False], [True] * 3):
            raise RefusedError(
                "Must specify only --optShapes or all of --minShapes, --optShapes, --maxShapes"
            )
        known = ("layer_names_only", "none", "detailed")
        if options.get("profilingVerbosity", "none") not in known:
            raise RefusedError(f"Unknown profilingVerbosity: {options['profilingVerbosity']}")
        weak = {"fp16", "int8", "best", "precisionConstraints"} & set(options)
        if weak and ("stronglyTyped" in options or self.version >= (11,)):
            raise RefusedError(
                f"Invalid usage, setting {min(weak)} mode is not allowed if graph is strongly typed"
            )
        if "exportLayerInfo" in options and "profilingVerbosity" not in options:
            raise RefusedError("stand-in: layer information without detailed verbosity")

    def check_values(self, options):
        for name in ("warmUp", "duration", "iterations", "avgRuns", "device", "useDLACore",
                     "workspace", "builderOptimizationLevel", "infStreams"):  # fmt: skip
            if name in options and not options[name].isdigit():
                raise RefusedError(f"stoi: --{name}={options[name]}")
        pool, _, size = options.get("memPoolSize", "workspace:1").partition(":")
        if pool != "workspace" or not size.replace(".", "", 1).isdigit():
            raise RefusedError(f"Unknown memory pool: {pool}")
        for name in ("shapes", "minShapes", "optShapes", "maxShapes"):
            _shapes(options.get(name, ""))

    def warn(self, options):
        for name in ("useCudaGraph", "separateProfileRun", "noDataTransfers", "useSpinWait"):
            if self.version >= (11,) and name in options:
                self.log("W", f"--{name} is deprecated. It is now enabled by default.")
        if "workspace" in options and self.version >= (8, 4):
            self.log("W", "--workspace flag has been deprecated by --memPoolSize flag.")

    def run(self, options):
        version = ".".join(map(str, (*self.version, 0)[:3]))
        self.log("I", "=== Device Information ===")
        self.log("I", f"Compute Capability: {self.capability}")
        self.log("I", f"TensorRT version: {version}")
        if "loadEngine" in options:
            engine = self.loaded(Path(options["loadEngine"]))
        else:
            engine = self.built(options)
        if "buildOnly" in options or "skipInference" in options:
            if self.version >= (8, 4):
                self.export(options, "exportLayerInfo", lambda: self.layers(engine))
            self.log("I", "Skipped inference phase.")
            return
        self.check_shapes(engine, options)
        self.export(options, "exportLayerInfo", lambda: self.layers(engine))
        self.infer(engine, options)

    def export(self, options, name, write):
        if name not in options:
            return
        try:
            with Path(options[name]).open("w", encoding="utf-8", newline="") as file:
                file.write(write())
        except OSError as error:  # an ofstream that fails says nothing
            self.log("V", f"stand-in: {options[name]}: {error.strerror}")

    # Building.

    def built(self, options):
        import onnx

        self.log("I", f"Start parsing network model{'.' if self.version >= (8, 6) else ''}")
        try:
            model = onnx.load(options["onnx"])
            self.alter(model)
        except Exception as error:
            raise RefusedError(
                "[TRT] ModelImporter.cpp:735: Failed to parse ONNX model from file:"
                f" {options['onnx']}\nFailed to parse onnx file\nParsing model failed\n"
                "Failed to create engine from model or file.\nEngine set up failed"
            ) from error
        self.parsed_model(model, options)
        self.wait(verbose="verbose" in options)
        self.fail(model)
        if "useDLACore" in options:
            if int(options["useDLACore"]) >= self.dla_cores:
                raise RefusedError(
                    f"Cannot create DLA engine, {options['useDLACore']} not available\n"
                    "Network And Config setup failed\nBuilding engine failed\n"
                    "Failed to create engine from model or file.\nEngine set up failed"
                )
            self.place(model, options)
        inputs = _inputs(model)
        ranges = self.ranges(inputs, options)
        if self.measured:
            rows = json.loads(gzip.decompress((FILES / f"{self.measured}.profile.json.gz")
                                              .read_bytes()))[1:]  # fmt: skip
            kernels, times = [], [(row["name"], row["medianMs"]) for row in rows]
        else:
            kernels = _kernels(model, ranges[1], half="fp16" in options and self.version < (10,))
            times = [
                (name, self.op_ms.get(kernel["op"], ms))
                for kernel, (name, ms) in zip(kernels, _times(kernels), strict=True)
            ]
        engine = {
            "version": self.number,
            "capability": self.capability,
            "measured": self.measured,
            "is_detailed": options.get("profilingVerbosity") == "detailed",
            "kernels": kernels,
            "times": times,
            "inputs": inputs,
            "bindings": [*inputs, *(one.name for one in model.graph.output)],
            "ranges": ranges,
        }
        if "saveEngine" in options:
            try:
                Path("/dev/full" if self.fails == "space" else options["saveEngine"]).write_bytes(
                    _MAGIC + json.dumps(engine).encode() + b"\n" + model.SerializeToString()
                )
            except OSError as error:
                raise RefusedError("Saving engine to file failed.\nEngine set up failed") from error
        if "timingCacheFile" in options:
            Path(options["timingCacheFile"]).write_bytes(b"a timing cache\n")
        self.log("I", "Engine built in 0.1 sec.")
        return {**engine, "onnx": model.SerializeToString()}

    def alter(self, model):
        from onnx import numpy_helper

        for one in model.graph.initializer:
            if one.name == self.alters:
                wrong = numpy_helper.to_array(one)
                one.CopyFrom(numpy_helper.from_array((1.5 * wrong).astype(wrong.dtype), one.name))

    def ranges(self, inputs, options):
        opened = {name for name, shape in inputs.items() if None in shape}
        ranges = [_shapes(options.get(f"{one}Shapes", options.get("optShapes", "")))
                  for one in ("min", "opt", "max")]  # fmt: skip
        if not ranges[1]:
            ranges = [_shapes(options.get("shapes", ""))] * 3
        if set(ranges[1]) - opened:
            raise RefusedError(
                "Static model does not take explicit shapes since the shape of inference tensors"
                " will be determined by the model itself\nNetwork And Config setup failed"
            )
        for name in opened:
            if name not in ranges[1]:
                self.log(
                    "W",
                    f"Dynamic dimensions required for input: {name}, but no shapes were"
                    " provided. Automatically overriding shape to 1",
                )
                for one in ranges:
                    one[name] = [size or 1 for size in inputs[name]]
        return ranges

    def parsed_model(self, model, options):
        """Parses: what it stops at is an error, and that it has ended is said all the same."""
        said = "Finish parsing network model"
        if self.version >= (8, 6):
            said = "Finished parsing network model. Parse time: 0.0483808"
        for number, node in enumerate(model.graph.node):
            name = node.name or f"node_of_{node.output[0]}"
            refusal = ""
            if node.domain not in ("", "ai.onnx"):
                refusal = self.unsupported(number, node)
            elif "reportCapabilityDLA" in options and node.op_type in _OFF_DLA:
                refusal = (
                    f"In node {number} with name: {name} and operator: {node.op_type}"
                    f" (checkDLASupport): UNSUPPORTED_NODE: DLA validation failed for layer: {name}"
                )
            if refusal:
                for message in f"{refusal}\nFailed to parse onnx file".replace("\n\t", "\t").split(
                    "\n"
                ):
                    self.log("E", message.replace("\t", "\n"))
                self.log("I", said)
                raise RefusedError(
                    "Parsing model failed\nFailed to create engine from model or file.\n"
                    "Engine set up failed"
                )
            if "verbose" in options:
                self.log("V", f"[TRT] Parsing node: {name} [{node.op_type}]")
                self.log("V", f"[TRT] Registering layer: {name} for ONNX node: {name}")
        self.log("I", said)

    def place(self, model, options):
        """Says what falls off the DLA, and lists what runs where: a loadable for each stretch."""
        is_half = bool({"fp16", "int8"} & set(options)) or self.version >= (11,)
        layers = [
            (name, self.falls_off(name, node.op_type, is_half=is_half))
            for node in model.graph.node
            for name in [node.name or f"node_of_{node.output[0]}"]
            if node.op_type not in ("Constant", "Identity", "Dropout")
        ]
        for name in [name for name, kind in layers if kind][:1]:
            if "allowGPUFallback" not in options:
                raise RefusedError(
                    f"[TRT] Default DLA is enabled but layer {name} is not supported on DLA and"
                    " falling back to GPU is not enabled.\nEngine could not be created from network"
                    "\nBuilding engine failed\nFailed to create engine from model or file.\n"
                    "Engine set up failed"
                )
        runs = [
            [name for name, _ in run]
            for is_off, run in itertools.groupby(layers, key=lambda layer: bool(layer[1]))
            if not is_off
        ]
        for name in (name for run in runs[_SUBGRAPHS:] for name in run):
            self.log("W", f"[TRT] DLA supports only {_SUBGRAPHS} subgraphs per DLA core. Switching"
                          f" to GPU for layer {name}")  # fmt: skip
        letter, dashes = ("V" if self.version >= (10,) else "I"), "-" * 10
        self.log(letter, f"[TRT] {dashes} Layers Running on DLA {dashes}")
        for run in runs[:_SUBGRAPHS]:
            ends = "...".join(dict.fromkeys((run[0], run[-1])))
            self.log(letter, f"[TRT] [DlaLayer] {{ForeignNode[{ends}]}}")
        self.log(letter, f"[TRT] {dashes} Layers Running on GPU {dashes}")
        on_dla = {name for run in runs[:_SUBGRAPHS] for name in run}
        for name, kind in layers:
            if name not in on_dla:
                kinds = f"{kind or 'CONVOLUTION'}: " if self.version >= (8, 4) else ""
                self.log(letter, f"[TRT] [GpuLayer] {kinds}{name}")

    def falls_off(self, name, op, *, is_half):
        """Says of a layer that it falls off the DLA; returns what kind it is then."""
        kind, why = _OFF_DLA.get(op, ("", ""))
        if not is_half:
            self.log("W", f"[TRT] DLA only supports FP16 and Int8 precision type. Switching {name}"
                          " device type to GPU.")  # fmt: skip
            return kind or "CONVOLUTION"
        if why:
            self.log("W", f"[TRT] {name}: {why}")
        if kind and self.version < (8, 4):
            self.log("W", f"[TRT] Default DLA is enabled but layer {name} is not supported on DLA,"
                          " falling back to GPU.")  # fmt: skip
        elif kind:
            self.log("W", f"[TRT] Layer '{name}' ({kind}): Unsupported on DLA. Switching this"
                          " layer's device type to GPU.")  # fmt: skip
        return kind

    def fail(self, model):
        if self.fails == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails == "memory":
            self.log(
                "W",
                "[TRT] Requested amount of GPU memory (268435456 bytes) could not be"
                " allocated. There may not be enough free memory for allocation to succeed.",
            )
            raise RefusedError(
                "Error[2]: [virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory"
                " (no further information)\n"
                "Error[10]: [optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error"
                f" (Could not find any implementation for node {model.graph.node[0].name}.)\n"
                "Engine could not be created from network\nBuilding engine failed\n"
                "Failed to create engine from model or file.\nEngine set up failed"
            )

    def unsupported(self, number, node):
        where = f'{number} [{node.op_type} -> "{node.output[0]}"]'
        if self.version < (10,):
            why = (
                "[TRT] ModelImporter.cpp:729: ERROR: builtin_op_importers.cpp:5428 In function"
                " importFallbackPluginImporter:\n\t[8] Assertion failed: creator && "
                '"Plugin not found, are the plugin name, version, and namespace correct?"'
            )  # fmt: skip
        else:
            why = (
                "[TRT] ModelImporter.cpp:956: ERROR: onnxOpCheckers.cpp:780 In function"
                " checkFallbackPluginImporter:\n\t[6] creator && "
                '"Plugin not found, are the plugin name, version, and namespace correct?"'
                f" In node {number} with name: {node.name} and operator: {node.op_type}"
                " (checkFallbackPluginImporter)"
            )  # fmt: skip
        dump = str(node).strip().replace("\n", "\n\t")
        return (
            f"[TRT] ModelImporter.cpp:726: While parsing node number {where}:\n"
            "[TRT] ModelImporter.cpp:727: --- Begin node ---\n"
            f"[TRT] ModelImporter.cpp:728: {dump}\n"
            f"[TRT] ModelImporter.cpp:729: --- End node ---\n{why}"
        )

    # Running.

    def loaded(self, path):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RefusedError(
                f"Error opening engine file: {path}\nEngine set up failed"
            ) from error
        if not data.startswith(_MAGIC):
            raise RefusedError(
                "Error[1]: [runtime.cpp::parsePlan::314] Error Code 1: Serialization (Serialization"
                " assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.)\n"
                "Engine deserialization failed\nGot invalid engine!\nInference set up failed"
            )
        head, _, onnx = data[len(_MAGIC) :].partition(b"\n")
        engine = {**json.loads(head), "onnx": onnx}
        if engine["version"] != self.number:
            raise RefusedError(
                "Error[1]: [stdArchiveReader.cpp::StdArchiveReaderInitCommon::46] Error Code 1:"
                " Serialization (Serialization assertion stdVersionRead == serializationVersion"
                " failed.Version tag does not match. Note: Current Version: 232, Serialized Engine"
                " Version: 213)\nEngine deserialization failed\nGot invalid engine!\n"
                "Inference set up failed"
            )
        if engine["capability"] != self.capability:
            raise RefusedError(
                "Error[6]: The engine plan file is generated on an incompatible device, expecting"
                f" compute {self.capability} got compute {engine['capability']}, please rebuild.\n"
                "Engine deserialization failed\nGot invalid engine!\nInference set up failed"
            )
        return engine

    def check_shapes(self, engine, options):
        shapes = {**engine["ranges"][1], **_shapes(options.get("shapes", ""))}
        for name, shape in shapes.items():
            low, _, high = (one.get(name) for one in engine["ranges"])
            fixed = engine["inputs"].get(name)
            if low is None and shape == fixed:
                continue
            if low is None or len(shape) != len(low) or not all(
                a <= b <= c for a, b, c in zip(low, shape, high, strict=True)
            ):  # fmt: skip
                raise RefusedError(
                    "Error[3]: [executionContext.cpp::setInputShape::2278] Error Code 3: API Usage"
                    f" Error (Parameter check failed, invalid dimensions for {name})\n"
                    "Inference set up failed"
                )
        for name in engine["ranges"][1]:
            if name not in _shapes(options.get("shapes", "")):
                self.log(
                    "W",
                    f"Dynamic dimensions required for input: {name}, but no shapes were"
                    " provided. Automatically overriding shape to the engine's.",
                )
        return shapes

    def infer(self, engine, options):
        profiles = "exportProfile" in options or "dumpProfile" in options
        is_apart = "separateProfileRun" in options or self.version >= (11,)
        has_graph = "useCudaGraph" in options or (
            self.version >= (11,) and "noCudaGraph" not in options
        )
        if has_graph and not self.captures:
            for line in _NO_GRAPH.splitlines():
                self.log("W", line)
            has_graph = False
        self.log("I", "Starting inference")
        if self.fails == "hangs":
            time.sleep(1e6)
        self.wait()
        if "exportOutput" in options or "loadInputs" in options:
            text = self.outputs(engine, options)
            self.export(options, "exportOutput", lambda: text)
        if not profiles or is_apart:
            self.report(engine, options, has_graph=has_graph)
        if profiles:
            self.export(options, "exportProfile", lambda: self.profile(engine))

    def report(self, engine, options, *, has_graph):
        warm_ms, at_ms = float(options.get("warmUp", 200)), 0.0
        fewest = int(options.get("iterations", 10))
        least_ms = 1e3 * float(options.get("duration", 3))
        generator = random.Random(f"{os.getpid()} {time.time_ns()}")
        measured = _measurement(engine["measured"] or MEASURED[3])
        base_ms = sum(ms for _, ms in engine["times"]) * measured["over_sum"]
        enqueue_ms = 0.01 if has_graph else 0.002 * len(engine["times"])
        rows, warm = [], 0
        while at_ms < warm_ms + least_ms or len(rows) - warm < fewest:
            compute_ms = base_ms * _quantile(measured, generator.random())
            rows.append((at_ms, compute_ms))
            warm += at_ms < warm_ms
            at_ms += compute_ms
        timed = rows[warm:]
        self.log("I", f"Warmup completed {warm} queries over {warm_ms:g} ms")
        seconds = sum(ms for _, ms in timed) / 1e3
        self.log("I", f"Timing trace has {len(timed)} queries over {seconds:g} s")
        self.log("I", "=== Performance summary ===")
        self.log("I", f"Throughput: {len(timed) / max(seconds, 1e-9):g} qps")
        kept = timed if self.version >= (8, 5) else rows

        def text():
            lines = []
            for start, ms in kept:
                row = {
                    "startEnqMs": start, "endEnqMs": start + enqueue_ms, "startH2dMs": start,
                    "endH2dMs": start, "startComputeMs": start, "endComputeMs": start + ms,
                    "startD2hMs": start + ms, "endD2hMs": start + ms, "h2dMs": 0,
                    "computeMs": ms, "d2hMs": 0, "latencyMs": ms,
                }  # fmt: skip
                if self.version < (8, 4):
                    row["endToEndMs"] = ms
                lines.append("{ " + ", ".join(f'"{k}" : {v:g}' for k, v in row.items()) + " }\n")
            return "[\n  " + ", ".join(lines) + "]\n"

        self.export(options, "exportTimes", text)

    def profile(self, engine):
        if engine["measured"] and self.version >= (8, 4):
            return gzip.decompress(
                (FILES / f"{engine['measured']}.profile.json.gz").read_bytes()
            ).decode()
        count, whole = 100, sum(ms for _, ms in engine["times"])
        lines = [f'[\n  {{ "count" : {count} }}\n']
        for name, ms in engine["times"]:
            median = f' "medianMs" : {ms:g},' if self.version >= (8, 4) else ""
            lines.append(
                f', {{ "name" : "{name}", "timeMs" : {count * ms:g}, "averageMs" : {ms:g},{median}'
                f' "percentage" : {100 * ms / whole if whole else "-nan"} }}\n'
            )
        return "".join([*lines, "]\n"])

    def layers(self, engine):
        if engine["measured"]:
            path = FILES / f"{engine['measured']}.layers.json.gz"
            return gzip.decompress(path.read_bytes()).decode()
        bindings = "\n,".join(f'"{name}"' for name in engine["bindings"])
        if not engine["is_detailed"]:
            rows = "\n,".join(f'"{kernel["name"]}"' for kernel in engine["kernels"])
        else:
            rows = ",".join(map(self.layer, engine["kernels"]))
        return f'{{"Layers": [{rows}],\n"Bindings": [{bindings}\n]}}\n'

    def layer(self, kernel):
        rows = [f'  "Name": "{kernel["name"]}"', f'  "LayerType": "{kernel["kind"]}"']
        for what in ("inputs", "outputs"):
            tensors = ",".join(map(self.tensor, kernel[what]))
            rows.append(f'  "{what.capitalize()}": [{tensors}]')
        if kernel["weights"]:
            kind = _TYPES[kernel["type"]][1]
            rows.append(f'  "Weights": {{"Type": "{kind}", "Count": {kernel["weights"]}}}')
        rows += ['  "TacticName": "a_stand_in"', '  "TacticValue": "0x0000000000000000"']
        if self.version >= (8, 6):
            nodes = "\x1e".join(f"[ONNX Layer: {name}]" for name in kernel["nodes"])
            rows += ['  "StreamId": 0', f'  "Metadata": "{nodes}"']
        return "{\n" + ",\n".join(rows) + "\n}"

    def tensor(self, tensor):
        short, long = _TYPES[tensor["type"]]
        if self.version >= (11,):
            said = f'"Datatype": "{long}",\n    "Format": "Row major linear"'
        else:
            said = f'"Format/Datatype": "Row major linear {short}"'
        return (
            f'\n  {{\n    "Name": "{tensor["name"]}",\n    "Location": "Device",\n'
            f'    "Dimensions": [{",".join(map(str, tensor["shape"]))}],\n    {said}\n  }}'
        )

    def outputs(self, engine, options):
        import numpy as np

        os.environ["TMPDIR"] = os.devnull  # where ONNX Runtime would leave a file
        import onnxruntime

        session = onnxruntime.InferenceSession(engine["onnx"], providers=["CPUExecutionProvider"])
        shapes, files = self.check_shapes(engine, options), {}
        for one in filter(None, options.get("loadInputs", "").split(",")):
            name, _, path = one.rpartition(":")
            files[name] = path
        if unknown := set(files) - {one.name for one in session.get_inputs()}:
            raise RefusedError(
                f'Cannot find input tensor with name "{min(unknown)}" in the engine bindings!\n'
                "Inference set up failed"
            )
        given, generator = {}, np.random.default_rng(0)
        for one in session.get_inputs():
            kind = {"float": "f4", "float16": "f2", "double": "f8", "bool": "?", "int32": "i4",
                    "int64": "i8", "int8": "i1", "uint8": "u1"}[one.type[7:-1]]  # fmt: skip
            shape = shapes.get(one.name, one.shape)
            if one.name in files:
                # Before 10 there is no int64: the parser makes int32 of it.
                held = "i4" if kind == "i8" and self.version < (10,) else kind
                array = np.fromfile(files[one.name], held).astype(kind)
                if array.size != np.prod(shape):
                    raise RefusedError(
                        f"Input file {files[one.name]} has not the size of {one.name}\n"
                        "Inference set up failed"
                    )
                given[one.name] = array.reshape(shape)
            else:
                given[one.name] = generator.uniform(-1, 1, shape).astype(kind)
        names = [one.name for one in session.get_outputs()]
        rows = []
        for name, array in zip(names, session.run(names, given), strict=True):
            if self.spoils and array.dtype.kind == "f":
                scale = self.spoils * float(np.abs(array).max())
                array = array + generator.normal(0, scale, array.shape)  # noqa: PLW2901
            written = "g" if array.dtype.kind == "f" else "d"
            values = ", ".join(f"{value:{written}}" for value in array.ravel().tolist())
            shape = "x".join(map(str, array.shape))
            rows.append(f'{{ "name" : "{name}"\n  , "dimensions" : "{shape}"\n'
                        f'  , "values" : [ {values} ]\n  }}\n')  # fmt: skip
        return "[\n  " + ", ".join(rows) + "]\n"

    def wait(self, *, verbose=False):
        ends = time.monotonic() + self.lasts_s
        while (left := ends - time.monotonic()) > 0:
            if verbose:  # as one that builds: it ends where nobody reads that any more
                self.log("V", "[TRT] Tactic: 0x0 Time: 0.1")
            time.sleep(min(left, 0.2 if verbose else left))


def _shapes(text):
    """Reads `name:1x3x8x8,other:1`; the name ends at the last colon, and single quotes go."""
    found = {}
    for one in filter(None, text.split(",")):
        name, _, sizes = one.rpartition(":")
        try:
            found[name.replace("'", "")] = [int(size) for size in sizes.split("x")]
        except ValueError as error:
            raise RefusedError(f"stoi: {one}") from error
    return found


def _inputs(model):
    weights = {one.name for one in model.graph.initializer}
    return {
        one.name: [d.dim_value if d.HasField("dim_value") else None
                   for d in one.type.tensor_type.shape.dim]
        for one in model.graph.input
        if one.name not in weights
    }  # fmt: skip


def _kernels(model, shapes, *, half):
    """Makes a kernel of each node, of a convolution and the ReLU behind it one."""
    import onnx

    model = onnx.ModelProto.FromString(model.SerializeToString())
    for one in model.graph.input:
        for place, size in enumerate(shapes.get(one.name, ())):
            one.type.tensor_type.shape.dim[place].dim_value = size
    del model.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(model).graph
    ends = {one.name for one in (*graph.input, *graph.output)}
    sizes = {one.name: _elements(one.dims) for one in graph.initializer}
    values = {}
    for one in (*graph.input, *graph.value_info, *graph.output):
        kind, dims = one.type.tensor_type.elem_type, one.type.tensor_type.shape.dim
        kind = 10 if half and kind == 1 and one.name not in ends else kind
        values[one.name] = {"name": one.name, "type": kind if kind in _TYPES else 1,
                            "shape": [d.dim_value or 1 for d in dims]}  # fmt: skip
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kernels, fused = [], set()
    for number, node in enumerate(graph.node):
        if node.op_type in ("Constant", "Identity", "Shape") or number in fused:
            continue
        nodes, last = [node.name or f"(Unnamed Layer* {number}) [{node.op_type}]"], node
        after = readers.get(node.output[0], [])
        if node.op_type == "Conv" and len(after) == 1 and after[0].op_type == "Relu":
            last = after[0]
            nodes.append(last.name)
            fused |= {place for place, one in enumerate(graph.node) if one.output == last.output}
        outputs = [values[name] for name in last.output if name in values]
        kernels.append({
            "name": " + ".join(nodes),
            "kind": _KINDS.get(node.op_type, "Pooling" if node.op_type in _POOLS else "Shuffle"
                               if node.op_type in _MOVES else "PointWiseV2"),
            "nodes": nodes,
            "op": node.op_type,
            "inputs": [values[name] for name in node.input if name in values],
            "outputs": outputs,
            "weights": sum(sizes.get(name, 0) for name in node.input),
            "type": outputs[0]["type"] if outputs else 1,
        })  # fmt: skip
    return kernels


def _elements(dims):
    count = 1
    for size in dims:
        count *= size
    return count


def _times(kernels):
    """Gives each kernel what a measured one of its kind took, in turn."""
    name = MEASURED[3]
    rows = json.loads(gzip.decompress((FILES / f"{name}.profile.json.gz").read_bytes()))[1:]
    taken = {True: [], False: []}
    for row in rows:
        if row["medianMs"] > 0:
            taken["Conv" in row["name"]].append(row["medianMs"])
    counts, times = {True: 0, False: 0}, []
    for kernel in kernels:
        is_conv = kernel["kind"].startswith("Cask")
        times.append((kernel["name"], taken[is_conv][counts[is_conv] % len(taken[is_conv])]))
        counts[is_conv] += 1
    return times


def _measurement(name):
    said = json.loads((FILES / f"{name}.measurement.json").read_text())
    return {**said["gpu_compute_ms"],
            "over_sum": said["gpu_compute_ms"]["median"] / said["layer_sum_ms"]}  # fmt: skip


def _quantile(measured, at):
    """Returns latency over its median, at a quantile below the 90th of the measured runs."""
    low, middle, high = (measured[one] / measured["median"] for one in ("min", "median", "p90"))
    return low + (middle - low) * at / 0.5 if at < 0.5 else middle + (high - middle) * (at - 0.5)


if __name__ == "__main__":
    sys.exit(Played(**json.loads(sys.argv[1])).main(sys.argv[2:]))
