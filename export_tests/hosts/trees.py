"""Folders that look like the root of a device: written from documented facts, not recorded.

No Jetson, Raspberry Pi or Rockchip board is here. What NVIDIA's guides, jetson_stats and
docs/sources.md say of their files is laid down in folders, which the scripts are pointed at. The
programs in them are stand-ins, which take no other option than the real ones are given, and say
what they are.
"""

from __future__ import annotations

from pathlib import Path

# nvpmodel as a user who is not root sees it: the mode, its number, and what it may not open.
_NVPMODEL = """#!/bin/sh
[ "$*" = -q ] || {{ echo "a stand-in for nvpmodel knows -q only, and no $*" >&2; exit 64; }}
[ "$(id -u)" = 0 ] || echo 'NVPM ERROR: Error opening /sys/kernel/nvpmodel_clk_cap/emc: 13' >&2
echo 'a stand-in for nvpmodel'
printf 'NV Power Mode: {mode}\\n{number}\\n'
"""
_TRTEXEC = """#!/bin/sh
[ "$*" = --help ] || {{ echo "a stand-in for trtexec knows --help only here" >&2; exit 64; }}
echo '&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec --help'
echo '=== Model Options === (of a stand-in)'
"""
# A Python that has ONNX Runtime, as far as it is asked.
_PYTHON = """#!/bin/sh
[ "$1 $2" = "-B -c" ] || exit 64
printf 'python-version\\t{version}\\n{rest}'
exit {code}
"""
_HAS = "python-numpy\\t{}\\npython-onnxruntime\\t{}\\npython-providers\\tCPUExecutionProvider\\n"


def has(numpy: str, onnxruntime: str) -> str:
    """Return what a Python says that has both."""
    return _HAS.format(numpy, onnxruntime)


def python(version: str, rest: str = "", code: int = 0) -> str:
    """Return a stand-in for a Python."""
    return _PYTHON.format(version=version, rest=rest, code=code)


def _packages(**versions: str) -> str:
    """Return dpkg's status of packages; `_` stands for `-` in their names."""
    return "\n".join(
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nArchitecture: all\n"
        f"Maintainer: nobody <nobody@example.org>\nVersion: {version}\nDescription: of a test\n"
        for name, version in versions.items()
    )


def _conf(*modes: str) -> str:
    return "".join(f"< POWER_MODEL ID={number} NAME={one} >\n" for number, one in enumerate(modes))


def _memory(gib: float) -> str:
    kib = round(gib * 1024 * 1024)
    return f"MemTotal:       {kib} kB\nMemFree:        1000 kB\nMemAvailable:   {kib // 2} kB\n"


def _tree(model: str, *compatible: str) -> dict[str, str]:
    """Return a device tree's root: strings that end in a NUL byte."""
    return {
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/compatible": "".join(f"{one}\0" for one in compatible),
    }


def _rails(chip: str, *labels: str, folder: str = "hwmon3") -> dict[str, str]:
    """Return an INA3221 as hwmon has it, 5 V and 1, 2, 3 A, and its sum of shunt voltages."""
    at = f"sys/class/hwmon/{folder}"
    found = {f"{at}/name": f"{chip}\n", f"{at}/in7_label": "sum of shunt voltages\n"}
    for number, label in enumerate(labels, 1):
        found |= {
            f"{at}/in{number}_label": f"{label}\n",
            f"{at}/in{number}_input": "5000\n",
            f"{at}/curr{number}_input": f"{1000 * number}\n",
        }
    return found


def _gpu(name: str, hz: int, most_hz: int) -> dict[str, str]:
    at = f"sys/class/devfreq/{name}"
    return {
        f"{at}/cur_freq": f"{hz}\n",
        f"{at}/max_freq": f"{most_hz}\n",
        f"{at}/device/load": "512\n",
    }


_HEAT = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "47000\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1510400\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1510400\n",
}

#: JetPack 4.6.1 on a Nano: no part number in what it is compatible with but the module's.
NANO = {
    **_tree(
        "NVIDIA Jetson Nano Developer Kit",
        "nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210",
    ),
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI:"
    " aarch64, DATE: Sat Feb 19 17:05:08 UTC 2022\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
    "proc/meminfo": _memory(3.87),
    "usr/local/cuda/version.txt": "CUDA Version 10.2.300\n",
    "usr/src/tensorrt/bin/trtexec": _TRTEXEC.format(version="8201"),
    "usr/sbin/nvpmodel": _NVPMODEL.format(mode="5W", number=1),
    "etc/nvpmodel.conf": _conf("MAXN", "5W"),
    "usr/bin/python3": python("3.6.9", "python-trying\\tnumpy\\n", code=132),
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2532\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "123\n",
    **_gpu("57000000.gpu", 76_800_000, 640_000_000),
    **_HEAT,
}  # fmt: skip
#: JetPack 4.6 on an AGX Xavier, whose part number is in a folder of its boot loader.
AGX_XAVIER = {
    **_tree("Jetson-AGX", "nvidia,p2972-0000", "nvidia,tegra194"),
    "proc/device-tree/chosen/plugin-manager/ids/2888-0001-400-E.0": "\0",
    "etc/nv_tegra_release": "# R32 (release), REVISION: 6.1, GCID: 27863751, BOARD: t186ref, EABI:"
    " aarch64, DATE: Mon Jul 26 19:36:31 UTC 2021\n",
    "proc/meminfo": _memory(31.2),
    "usr/src/tensorrt/bin/trtexec": _TRTEXEC.format(version="8001"),
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": _conf("MAXN", "MODE_10W", "MODE_15W", "MODE_30W_ALL"),
    "usr/bin/tegrastats": "#!/bin/sh\n",
}
#: JetPack 5.1.2 on an Orin NX of 16 GB, in a mode that only half of its GPU runs in.
ORIN_NX = {
    **_tree(
        "NVIDIA Orin NX Developer Kit", "nvidia,p3768-0000+p3767-0000", "nvidia,tegra234"
    ),
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI:"
    " aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023\n",
    "proc/meminfo": _memory(15.3),
    "usr/local/cuda/version.json": '{\n "cuda" : {\n "name" : "CUDA SDK",\n "version" :'
    ' "11.4.19"\n },\n "cuda_cudart" : {\n "version" : "11.4.298"\n }\n}\n',
    "var/lib/dpkg/status": _packages(libnvinfer_bin="8.5.2-1+cuda11.4"),
    "usr/src/tensorrt/bin/trtexec": "#!/bin/sh\necho 'trtexec: error while loading shared"
    " libraries: libnvinfer.so.8: cannot open shared object file' >&2\nexit 127\n",
    "usr/sbin/nvpmodel": _NVPMODEL.format(mode="MODE_15W", number=2),
    "etc/nvpmodel.conf": _conf("MAXN", "MODE_10W", "MODE_15W", "MODE_25W"),
    "usr/bin/python3": python("3.8.10", has("1.24.4", "1.19.2")),
    **_rails("ina3221", "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
    **_gpu("17000000.ga10b", 612_000_000, 612_000_000),
    **_HEAT,
}  # fmt: skip
#: JetPack 6.2 on the Orin Nano developer kit, set to its Super modes.
ORIN_NANO = {
    **_tree(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234",
    ),
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI:"
    " aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/meminfo": _memory(7.44),
    "usr/local/cuda/version.json": '{ "cuda" : {\n "version" : "12.6.11"\n } }\n',
    "var/lib/dpkg/status": _packages(
        nvidia_l4t_core="36.4.3-20250107174145", nvidia_jetpack="6.2+b77",
        libnvinfer_bin="10.3.0.30-1+cuda12.5",
    ),
    "usr/src/tensorrt/bin/trtexec": _TRTEXEC.format(version="100300"),
    "usr/sbin/nvpmodel": _NVPMODEL.format(mode="15W", number=0),
    "etc/nvpmodel.conf": _conf("15W", "25W", "MAXN_SUPER"),
    "usr/bin/python3": python("3.10.12", "python-numpy\\t1.21.5\\n"),
    **_rails("ina3221", "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
    **_gpu("17000000.gpu", 306_000_000, 624_750_000),
    **_HEAT,
}  # fmt: skip
#: JetPack 6.1 on an AGX Orin of 64 GB, which has no rail of all.
AGX_ORIN = {
    **_tree(
        "NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3737-0000+p3701-0005", "nvidia,tegra234"
    ),
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI:"
    " aarch64, DATE: Fri Sep 13 04:36:44 UTC 2024\n",
    "proc/meminfo": _memory(61.4),
    **_rails("ina3221", "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    **_rails("ina3221", "NC", "VDDQ_VDD2_1V8AO", "NC", folder="hwmon4"),
}
#: JetPack 7.0 on an AGX Thor, known by its name alone.
THOR = {
    **_tree("NVIDIA Jetson AGX Thor Developer Kit", "nvidia,tegra264"),
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI:"
    " aarch64, DATE: Fri Aug 22 00:55:42 UTC 2025\n",
    "proc/meminfo": _memory(122.8),
    "usr/src/tensorrt/bin/trtexec": _TRTEXEC.format(version="101303"),
    "usr/bin/python3": python("3.12.3", has("2.2.6", "1.32.0")),
    **_gpu("gpu-nvd-0", 1_000_000_000, 1_692_000_000),
    **_gpu("gpu-gpc-0", 315_000_000, 1_575_000_000),
}
RASPBERRY_PI = {
    **_tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"),
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "proc/meminfo": _memory(7.9),
    "usr/bin/python3": python("3.11.2"),
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    **_HEAT,
}
ROCK = {
    **_tree("Radxa ROCK 5B", "radxa,rock-5b", "rockchip,rk3588"),
    "proc/meminfo": _memory(15.6),
}
X86 = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-1185G7 @ 3.00GHz\n",
    "proc/meminfo": _memory(15.4),
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "12345678\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "2345678\n",
}
GPU_BOX = {
    **X86,
    "usr/bin/nvidia-smi": "#!/bin/sh\n[ \"$*\" = '--query-gpu=name --format=csv,noheader' ] ||"
    " exit 64\necho 'NVIDIA GeForce RTX 3090'\n",
    "usr/local/bin/trtexec": _TRTEXEC.format(version="101600"),
}


def lay(tree: dict[str, str], root: Path) -> Path:
    """Write a tree into a folder; what begins as a script can be run."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    return root
