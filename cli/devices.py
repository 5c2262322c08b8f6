"""`edgeattn devices`: what is known of each device, and how this machine becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeattn.base.files import write
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.options.flags import Flag
from edgeattn.options.precision import PRECISIONS
from edgeattn.report.grid import columns, table

from . import probing
from .fits import fit_document, print_fit
from .groups import grouped
from .screen import Screen
from .tables import print_notes, size

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.devices.schema import DeviceProfile, OperatingPoint
    from edgeattn.profiling.calibration.calibrate import Calibration
    from edgeattn.workflows.calibrate import Calibrated

_PEAKS: Final = "Peaks by type are dense TFLOP/s, or TOP/s."
# What else a mode changes, by whether it is a GPU.
_IN_A_MODE: Final = {True: ("L2 GB/s", "smallest kernel µs"), False: ("smallest kernel µs",)}
_CPU_ONLY: Final = (
    "The processor alone was calibrated, and not the {}: figures of GPUs come with edgeattn. See:"
    " edgeattn devices list"
)

app = typer.Typer(
    name="devices", help="The devices that edgeattn has figures of.", rich_markup_mode=None
)


@app.command("list")
@grouped
def list_(*, screen: Screen) -> None:
    """List the devices, with their figures in the default power mode."""
    with screen.working() as stage:
        stage("reading the profiles")
        from edgeattn.devices import profile

        devices = [profile.find(name) for name in profile.names()]
    document = [_document(device, device.at()) for device in devices]
    screen.show(document, lambda console: _print_devices(console, devices))


@app.command()
@grouped
def show(
    *,
    name: Annotated[str, Flag("NAME", "A device, or the path of a file of your own.")],
    power_mode: Annotated[
        str | None, Flag("--power-mode NAME", "Its figures in this mode only, as in 15W.")
    ] = None,
    screen: Screen,
) -> None:
    """Show what is known of a device."""
    with screen.working() as stage:
        stage("reading the profile")
        from edgeattn.devices import profile

        device = profile.find(name)
        point = device.at(power_mode)
    modes = [mode.name for mode in device.power_mode] if power_mode is None else []
    points = [device.at(mode) for mode in modes] or [point]
    screen.show(_document(device, point), lambda console: _print_device(console, device, points))


@app.command()
@grouped
def calibrate(
    *,
    more: Annotated[list[Path] | None, Flag("[FILE]…", "More files of --from.")] = None,
    output: Annotated[
        Path | None, Flag("--output -o FILE.toml", "The file. [after the processor, here]")
    ] = None,
    options: CalibrationOptions,
    screen: Screen,
) -> None:
    """Measure this machine's processor, or fit to what was measured, and write a device file.

    Single operators of ONNX Runtime are timed; nothing else should run meanwhile. With --on, a
    device is measured: a Jetson by networks of single operators, which its trtexec builds. With
    --from, traces of one device are fitted instead, and nothing is measured. `edgeattn profile
    MODEL --device FILE.toml` then predicts what a model takes.
    """
    files = [*options.traces, *(more or [])]
    with screen.working() as stage:
        from edgeattn.engine.gpu import local_gpu
        from edgeattn.profiling.calibration import calibrate as calibration
        from edgeattn.workflows.calibrate import Calibrated, calibrate_from, calibrate_on

        _check_asked(files, options)
        is_here = not files and not options.on
        path = output or (calibration.file_of(options.name) if is_here else None)
        if path is not None:
            calibration.check_file(path)
        found: Calibrated | calibration.Calibration
        if options.on:
            found = calibrate_on(options, on_stage=stage)
        elif files:
            found = calibrate_from(files, options, on_stage=stage)
        else:
            found = calibration.calibrate(options, on_stage=stage)
        if path is None:
            path = calibration.file_of(options.name or _named(found))
            calibration.check_file(path)
        write(path, found.text)
        gpu = local_gpu() if is_here else None
    device = found.device.model_copy(update={"name": options.name or path.stem})
    notes = [*found.warnings, *([_CPU_ONLY.format(gpu.name)] if gpu else [])]
    learned = found.learned if isinstance(found, Calibrated) else None
    document = {**_document(device, device.at()), "file": str(path), "warnings": notes}
    if learned is not None:
        document["fit"] = fit_document(learned)

    def report(console: Console) -> None:
        if learned is None:
            _print_device(console, device, [device.at()])
        else:
            print_fit(console, learned)
        print_notes(console, notes)
        console.print(f"written: {path}. Predict with it: edgeattn profile MODEL --device {path}")

    screen.show(document, report)


app.command()(probing.probe)


def _check_asked(files: Sequence[Path], options: CalibrationOptions) -> None:
    """Refuse what does not go together.

    Raises:
        InputError: It does not.
    """
    from edgeattn.base.errors import InputError

    if options.on and files:
        raise InputError("--on measures, and --from does not: give one of them.")
    if files and not options.traces:
        raise InputError(
            f"{files[0]} is given, and nothing is said of it.",
            mend="Fit to it: edgeattn devices calibrate --from FILE",
        )
    if files and options.threads:
        raise InputError("--threads is of what is measured: traces say theirs.")


def _named(found: Calibrated | Calibration) -> str:
    """Return what a device is called that was fitted, or measured on a host."""
    learned = getattr(found, "learned", None)
    return found.device.title if learned is None else f"{learned.start.name}-fitted"


def _document(device: DeviceProfile, point: OperatingPoint) -> dict[str, Any]:
    """Return what the file says, what follows from it, and the figures in a power mode."""
    import dataclasses

    return {
        **device.model_dump(mode="json"),
        "runtimes": device.runtimes,
        "precisions": device.precisions,
        "tensorrt": device.tensorrt,
        "opset": device.opset,
        "figures": dataclasses.asdict(point),
    }


def _print_devices(console: Console, devices: list[DeviceProfile]) -> None:
    rows = table("name", "title", "compute", "power mode", *PRECISIONS, "GB/s", "TensorRT", "alias")
    for device in devices:
        point = device.at()
        rows.add_row(
            device.name,
            device.title,
            _capability(device),
            point.power_mode or "-",
            *_figures(point, PRECISIONS),
            device.tensorrt or "-",
            ", ".join(device.aliases),
        )
    console.print(rows)
    console.print(f"{_PEAKS} All of a device: edgeattn devices show NAME")


def _print_device(console: Console, device: DeviceProfile, points: list[OperatingPoint]) -> None:
    console.print(columns(_facts(device)))
    console.print()
    units = "SMs" if device.sms else "cores"
    modes = table(
        "power mode", "clock MHz", units, *device.peak_tflops, "GB/s", *_IN_A_MODE[bool(device.sms)]
    )
    for point in points:
        is_default = point.power_mode == device.default_power_mode and bool(point.power_mode)
        modes.add_row(
            f"{point.power_mode or '-'}{' (default)' if is_default else ''}",
            f"{point.clock_mhz:g}",
            str(point.sms or device.cores),
            *_figures(point, device.peak_tflops),
            *([f"{point.last_level_gbps:.4g}"] if device.sms else []),
            f"{point.kernel_floor_us:.3g}",
        )
    console.print(modes)
    console.print(_PEAKS)
    if device.jetpack:
        releases = table("JetPack", "L4T", "CUDA", "TensorRT", "highest opset")
        for row in device.jetpack:
            releases.add_row(row.jetpack, row.l4t, row.cuda, row.tensorrt, str(row.opset))
        console.print()
        console.print(releases)
    if device.guesses:
        console.print()
        console.print(f"Guesses: {', '.join(device.guesses)}")


def _facts(device: DeviceProfile) -> list[tuple[str, str]]:
    cache = "L2" if device.sms else "last cache"
    bandwidth = ", ".join(f"{kind} {part:g}" for kind, part in device.efficiency.bandwidth.items())
    facts = [
        ("name", ", ".join((device.name, *device.aliases))),
        ("title", device.title),
        ("compute capability", _capability(device)),
        (cache, size(device.last_level_cache_kib * 1024)),
        *([("memory", f"{device.memory_gib:g} GiB")] if device.memory_gib else []),
        ("DLA cores", str(device.dla_cores) if device.sms else "-"),
        ("smallest kernel", f"{device.kernel_floor_us:g} µs{_mark(device, 'kernel_floor_us')}"),
        ("reached of the peak", ", ".join(_reached_of_the_peak(device))),
        ("reached of the bandwidth", f"{bandwidth}{_mark(device, 'efficiency.bandwidth')}"),
        ("fast in", ", ".join(device.precisions)),
        ("engines of", ", ".join(device.runtimes) or "none: ONNX Runtime and OpenVINO serve it"),
    ]
    if device.enqueue_us is not None:
        enqueue = f"{device.enqueue_us:g} µs a kernel{_mark(device, 'enqueue_us')}"
        facts.append(("host, without a CUDA graph", enqueue))
    if device.kind == "cpu":
        facts += _cpu_facts(device)
    if device.fitted_to:
        facts.append(("fitted to", f"{device.fitted_to} traces"))
    if device.newest_jetpack:
        newest = device.newest_jetpack
        facts.append(
            ("TensorRT", f"{newest.tensorrt} of JetPack {newest.jetpack}, to opset {newest.opset}")
        )
    return facts


def _cpu_facts(device: DeviceProfile) -> list[tuple[str, str]]:
    """Return what a calibration finds of a CPU; nothing if it was not calibrated."""
    said = device.efficiency
    facts: list[tuple[str, str]] = []
    if device.last_level_gbps is not None:
        facts.append(("out of the cache", f"{device.last_level_gbps:.4g} GB/s"))
    if device.last_level_holds_us is not None:
        facts.append(("the cache holds for", f"{device.last_level_holds_us:.3g} µs"))
    if device.wake_us is not None:
        facts.append(("waking threads", f"{device.wake_us:.3g} µs"))
    if said.layers:
        facts.append(("of the peak, by layers", _listed(said.layers)))
    if said.ends:
        facts.append(("ends of a run, in places", _listed(said.ends)))
    if said.operators:
        facts.append(("out of the cache, by operator", _listed(said.operators)))
    return facts


def _listed(parts: Mapping[Any, float]) -> str:
    return ", ".join(f"{name} {part:.3g}" for name, part in parts.items())


def _reached_of_the_peak(device: DeviceProfile) -> list[str]:
    found = [f"{device.efficiency.compute:g}{_mark(device, 'efficiency.compute')}"]
    found += [f"{name} {part:g}" for name, part in device.efficiency.types.items()]
    if (depthwise := device.efficiency.depthwise) is not None:
        found.append(f"depthwise {depthwise:g}{_mark(device, 'efficiency.depthwise')}")
    return found


def _mark(device: DeviceProfile, key: str) -> str:
    return " (guess)" if device.is_guess(key) else ""


def _capability(device: DeviceProfile) -> str:
    return "{}.{}".format(*device.compute_capability) if device.compute_capability else "-"


def _figures(point: OperatingPoint, peaks: Iterable[str]) -> list[str]:
    """Return peaks and bandwidth."""
    found = {str(name): peak for name, peak in point.peak_tflops.items()}
    texts = [f"{found[name]:.4g}" if name in found else "-" for name in peaks]
    return [*texts, f"{point.bandwidth_gbps:.4g}"]
