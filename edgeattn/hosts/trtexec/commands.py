"""Command lines of trtexec, for the version that is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.legible import legible
from edgeattn.engine.shapes import written
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.flags import FLAGS, OLDEST, Version, knows, parse_version
from edgeattn.options.build import EngineOptions, Profile, Shapes
from edgeattn.options.precision import Precision

_BY_DEFAULT: Final = EngineOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trtexec:
    """trtexec on a host. Paths are relative to where it is run, or absolute there.

    Attributes:
        path: Where it is.
        version: Its version.
    """

    path: str
    version: Version

    @classmethod
    def of(cls, facts: HostFacts) -> Self:
        """Return the one of a host.

        Raises:
            MissingError: There is none, or its flags are not known.
        """
        if facts.trtexec is None:
            raise MissingError(
                f"There is no trtexec on {facts.address}{_because(facts.trtexec_fault)}.",
                mend="On a Jetson it comes with JetPack: sudo apt install libnvinfer-bin; it lies"
                " in /usr/src/tensorrt/bin.",
            )
        version = parse_version(facts.tensorrt or "")
        if version is None or version < OLDEST:
            said = f"TensorRT {facts.tensorrt}" if facts.tensorrt else "a version that is not known"
            raise MissingError(
                f"trtexec on {facts.address} is of {said}: its flags are known from TensorRT"
                f" {'.'.join(map(str, OLDEST))} on.",
                mend="Install a newer JetPack.",
            )
        return cls(path=facts.trtexec, version=version)

    @property
    def title(self) -> str:
        """Its library, and the version in words."""
        return f"TensorRT {'.'.join(map(str, self.version))}"

    @property
    def has_layers(self) -> bool:
        """Whether it tells of an engine's layers; before 8.2 it has their names and times only."""
        return self._knows("--exportLayerInfo")

    @property
    def is_strongly_typed(self) -> bool:
        """Whether a network is built in the precision that it is written in: for a GPU, from 10."""
        return self._knows("--stronglyTyped") or not self._knows("--fp16")

    @property
    def reports_dla(self) -> bool:
        """Whether its parser can be told to refuse what does not run on a DLA."""
        return self._knows("--reportCapabilityDLA")

    def build_command(
        self,
        onnx: str,
        engine: str,
        *,
        precisions: Collection[Precision] = (),
        profiles: Sequence[Profile] = (),
        options: EngineOptions = _BY_DEFAULT,
        timing_cache: str = "",
        verbose: bool = False,
        report_dla: bool = False,
    ) -> list[str]:
        """Build an engine, and run nothing.

        Args:
            onnx: The ONNX file.
            engine: The engine that is written.
            precisions: What layers may compute in besides fp32, before TensorRT 10, or on a DLA
                before 11; else the file says it.
            profiles: The optimisation profile, completed; none for a model of fixed shapes.
            options: How to build; its precision, profiles and timing cache are not looked at.
            timing_cache: The file of tactics' times that is read and written; "" for none.
            verbose: Whether it tells all that it does.
            report_dla: Whether its parser refuses what does not run on a DLA, if it can.

        Raises:
            InputError: This version cannot be told so.
        """
        if len(profiles) > 1:
            raise InputError(
                f"An engine of {len(profiles)} optimisation profiles is not built by trtexec.",
                mend="Give --min-shapes, --opt-shapes and --max-shapes once.",
            )
        flags = [self._flag("--onnx", onnx), self._flag("--saveEngine", engine)]
        flags += self._maybe("--explicitBatch")
        # NVIDIA's commands for a DLA have --fp16 up to 10.
        is_typed = self.is_strongly_typed and options.dla_core is None
        flags += self._maybe("--stronglyTyped") if is_typed else []
        for precision in ("fp16", "int8"):
            if precision in precisions and not is_typed:
                flags += self._maybe(f"--{precision}")
        for profile in profiles:
            for point in ("min", "opt", "max"):
                flags += self._shapes(f"--{point}Shapes", getattr(profile, point))
        flags += self._options(options)
        if timing_cache:
            flags.append(self._flag("--timingCacheFile", timing_cache))
        flags += self._maybe("--profilingVerbosity", "detailed")
        flags += ["--verbose"] if verbose else []
        flags += self._maybe("--reportCapabilityDLA") if report_dla else []
        return [self.path, *flags, *(self._maybe("--skipInference") or ["--buildOnly"])]

    def time_command(
        self,
        engine: str,
        times: str,
        *,
        shapes: Shapes,
        warm_up_ms: int,
        runs: int,
        cuda_graph: bool = True,
    ) -> list[str]:
        """Time an engine without a profiler: a CUDA graph, a waiting processor, no transfers.

        Args:
            engine: The engine.
            times: Where the time of each run is written.
            shapes: The shape of each input that is open.
            warm_up_ms: How long it runs before anything counts.
            runs: How many runs count.
            cuda_graph: Whether kernels are launched as one CUDA graph, and not one by one.
        """
        return [
            *self._run(engine, shapes, warm_up_ms, runs),
            *self._maybe("--useCudaGraph" if cuda_graph else "--noCudaGraph"),
            self._flag("--exportTimes", times),
        ]

    def profile_command(
        self,
        engine: str,
        profile: str,
        layers: str,
        *,
        shapes: Shapes,
        warm_up_ms: int,
        runs: int,
        seconds: int = 0,
    ) -> list[str]:
        """Take an engine through the profiler, in a run behind one without it.

        Args:
            engine: The engine.
            profile: Where the times of layers are written.
            layers: Where the layer information is written, by a version that has it.
            shapes: The shape of each input that is open.
            warm_up_ms: How long it runs before anything counts.
            runs: How many runs count, at least.
            seconds: For how long it runs, at least.
        """
        return [
            *self._run(engine, shapes, warm_up_ms, runs, seconds),
            *self._maybe("--separateProfileRun"),
            self._flag("--exportProfile", profile),
            *self.layers_flags(layers),
        ]

    def layers_flags(self, layers: str) -> list[str]:
        """Return what has the layer information of an engine written; nothing before 8.2.

        Args:
            layers: Where it is written. Before 8.4 a run writes it, and a build does not.
        """
        verbosity = self._maybe("--profilingVerbosity", "detailed")
        return [*verbosity, *self._maybe("--exportLayerInfo", layers)]

    def infer_command(
        self, engine: str, inputs: Mapping[str, str], outputs: str, *, shapes: Shapes
    ) -> list[str]:
        """Run an engine once on given inputs, and write its outputs.

        Args:
            engine: The engine.
            inputs: The file of each input, by its name: its bytes.
            outputs: Where the outputs are written.
            shapes: The shape of each input that is open.

        Raises:
            InputError: The name of an input, or of its file, cannot be told.
        """
        given = ",".join(f"{_told(name)}:{_told(path)}" for name, path in inputs.items())
        return [
            self.path,
            self._flag("--loadEngine", engine),
            *self._maybe("--explicitBatch"),
            *self._shapes("--shapes", shapes),
            self._flag("--loadInputs", given),
            self._flag("--exportOutput", outputs),
            *(self._flag(name, value) for name, value in _ONCE.items()),
        ]

    def _run(
        self, engine: str, shapes: Shapes, warm_up_ms: int, runs: int, seconds: int = 0
    ) -> list[str]:
        return [
            self.path,
            self._flag("--loadEngine", engine),
            *self._maybe("--explicitBatch"),
            *self._shapes("--shapes", shapes),
            self._flag("--warmUp", str(warm_up_ms)),
            self._flag("--duration", str(seconds)),
            self._flag("--iterations", str(runs)),
            self._flag("--avgRuns", str(runs)),
            *self._maybe("--useSpinWait"),
            *self._maybe("--noDataTransfers"),
        ]

    def _options(self, options: EngineOptions) -> list[str]:
        """Return the flags of what the library is asked besides.

        Raises:
            InputError: This version has not what is asked.
        """
        flags = []
        if options.workspace_mib is not None:
            workspace = self._maybe("--workspace", str(options.workspace_mib))
            flags += workspace or [
                self._flag("--memPoolSize", f"workspace:{options.workspace_mib}")
            ]
        asked = {
            "--builderOptimizationLevel": ("--optimization-level", options.optimization_level),
            "--versionCompatible": ("--version-compatible", options.version_compatible or None),
            "--hardwareCompatibilityLevel": (
                "--hardware-compatible", "ampere+" if options.hardware_compatible else None
            ),
            "--useDLACore": ("--dla", options.dla_core),
            "--allowGPUFallback": ("--gpu-fallback", options.gpu_fallback or None),
        }  # fmt: skip
        for flag, (ours, value) in asked.items():
            if value is None:
                continue
            if not self._knows(flag):
                since = ".".join(map(str, FLAGS[flag].since or ()))
                raise InputError(f"{ours} came with TensorRT {since}, and this is {self.title}.")
            flags.append(flag if value is True else self._flag(flag, str(value)))
        return flags

    def _shapes(self, flag: str, shapes: Shapes) -> list[str]:
        if not shapes:
            return []
        return [self._flag(flag, ",".join(f"{_told(n)}:{written(s)}" for n, s in shapes.items()))]

    def _knows(self, flag: str) -> bool:
        return knows(self.version, flag)

    def _maybe(self, flag: str, value: str | None = None) -> list[str]:
        """Return a flag where it is known; else nothing."""
        if not self._knows(flag):
            return []
        return [flag if value is None else f"{flag}={value}"]

    def _flag(self, flag: str, value: str) -> str:
        """Return a flag that every version has which may come here."""
        assert self._knows(flag), flag
        return f"{flag}={value}"


_ONCE: Final = {"--warmUp": "0", "--duration": "0", "--iterations": "1", "--avgRuns": "1"}


def _told(name: str) -> str:
    """Return a name as trtexec splits it off a list.

    Raises:
        InputError: It would be split in the middle: trtexec knows no way to quote it.
    """
    if any(mark in name for mark in ",'"):
        raise InputError(
            f"trtexec cannot be told of {legible(name)!r}: it has a comma or a quote in its name.",
            mend="Give the input another name, or the model fixed shapes.",
        )
    return name


def _because(fault: str) -> str:
    return f": {legible(fault)}" if fault else ""
