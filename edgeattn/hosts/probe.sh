# Says what is on a host, a fact a line: KEY, a tab, what there is to say. Writes nothing, needs no
# root, and ends every command after a while. $1 is put before every path: nothing, but in tests.
# Behind sensors.sh.

say() { printf '%s\t%s\n' "$1" "$2"; }

text() { tr '\0\n\t' '   ' <"$1" 2>/dev/null | head -c 400; } # of a file, in one line

each() { # KEY: says every line that it reads
  while IFS= read -r line; do say "$1" "$line"; done
}

found() { # NAME FILE...: sets $program to the first that can be run; on PATH, but in tests
  program=''
  [ -n "$root" ] || program=$(command -v "$1")
  shift
  for file in "$program" "$@"; do
    program=$file
    [ -n "$file" ] && [ -f "$file" ] && [ -x "$file" ] && return
  done
  program=''
  return 1
}

python() { # FILE: says what is there to run models; one that dies of it is said too
  say python "$1"
  # No .pyc files, no core file, nothing of onnxruntime's among temporary files, and nothing of what
  # counts users of either runtime, in the home folder or at its makers.
  (ulimit -c 0; export TMPDIR=/dev/null ORT_DISABLE_TELEMETRY=1; exec timeout 60 "$1" -B -c '
import sys
def say(key, value):
    print("python-%s\t%s" % (key, str(value).strip().replace("\n", " ")[:300]))
    sys.stdout.flush()
say("version", "%d.%d.%d" % sys.version_info[:3])
sys.modules["openvino_telemetry"] = None
for name in ("numpy", "onnxruntime", "openvino"):
    key = "openvino-fault" if name == "openvino" else "fault"
    try:
        say("trying", name)
        module = __import__(name)
        if name == "openvino":
            say("devices", " ".join(module.Core().available_devices))
        say(name, getattr(module, "__version__", "of no version"))
        if name == "onnxruntime":
            say("providers", " ".join(module.get_available_providers()))
    except ImportError as error:
        if getattr(error, "name", None) != name:
            say(key, "%s: %s" % (name, error))
    except BaseException as error:
        say(key, "%s: %s" % (name, error))
') </dev/null 2>/dev/null
  say python-ended "$?"
}

say architecture "$(uname -m)"
say kernel "$(uname -r)"
say cores "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
say clock "$(date -u +%s)"
sed -n 's/^PRETTY_NAME=//p' "$root/etc/os-release" 2>/dev/null | head -n 1 | each system
sed -n 's/^model name[^:]*: *//p' "$root/proc/cpuinfo" 2>/dev/null | head -n 1 | each cpu
sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' "${root}/proc/meminfo" | each memory-kib
sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' "${root}/proc/meminfo" | each available-kib
say load "$(text /proc/loadavg)"
timeout 10 df -Pk "${TMPDIR:-/tmp}" | awk 'NR == 2 { print $4 }' | each free-kib
say folder "${TMPDIR:-/tmp}"
for tool in awk cat df flock mktemp sha256sum timeout wc; do
  command -v "$tool" >/dev/null || say lacks "$tool"
done

tree=$root/proc/device-tree
for key in model compatible nvidia,dtsfilename nvidia,boardids chosen/ids; do
  [ -r "$tree/$key" ] && say "${key##*,}" "$(text "$tree/$key")"
done
for file in "$tree"/chosen/plugin-manager/ids/[0-9]*; do
  [ -e "$file" ] && say chosen/ids "${file##*/}"
done
[ -r "$root/etc/nv_tegra_release" ] && say release "$(text "$root/etc/nv_tegra_release")"
if command -v dpkg-query >/dev/null; then
  timeout 10 dpkg-query "--admindir=$root/var/lib/dpkg" -W -f '${Package} ${Version}\n' \
    nvidia-l4t-core nvidia-jetpack libnvinfer-bin libnvinfer8 libnvinfer10 2>/dev/null | each package
fi
sed -n '/"cuda" *:/,/}/s/.*"version" *: *"\([^"]*\)".*/\1/p' "$root/usr/local/cuda/version.json" \
  2>/dev/null | head -n 1 | each cuda
[ -r "$root/usr/local/cuda/version.txt" ] && say cuda "$(text "$root/usr/local/cuda/version.txt")"
for file in "$root"/usr/lib/*/libnvinfer.so.*.*.*; do
  [ -e "$file" ] && say libnvinfer "${file##*/libnvinfer.so.}"
done
count=0
for file in "$root"/sys/bus/platform/devices/*.nvdla*; do
  [ -e "$file" ] && count=$((count + 1))
done
say dla "$count"

if found trtexec "$root/usr/src/tensorrt/bin/trtexec" "$root/usr/local/bin/trtexec" \
  "$root/opt/tensorrt/bin/trtexec" "$HOME/.local/bin/trtexec"; then
  say trtexec "$program"
  timeout 60 "$program" --help </dev/null 2>&1 | head -n 3 | each trtexec-says
fi
if found nvpmodel "$root/usr/sbin/nvpmodel"; then
  timeout 10 "$program" -q </dev/null 2>&1 | head -n 12 | each nvpmodel
fi
sed -n 's/^[ <]*POWER_MODEL *ID=\([0-9]*\) *NAME=\([^ >]*\).*/\1 \2/p' \
  "$root/etc/nvpmodel.conf" 2>/dev/null | head -n 24 | each power-mode
[ -r "$root/var/lib/nvpmodel/status" ] && say status "$(text "$root/var/lib/nvpmodel/status")"
found tegrastats "$root/usr/bin/tegrastats" && say tegrastats "$program"
if found nvidia-smi "$root/usr/bin/nvidia-smi" && [ ! -e "$tree/model" ]; then
  timeout 20 "$program" --query-gpu=name --format=csv,noheader </dev/null 2>/dev/null |
    head -n 1 | each gpu
fi

seen=' ' has_onnxruntime='' has_openvino=''
found python3
for file in "$program" "$root"/usr/bin/python3 "$root"/usr/bin/python3.[0-9] \
  "$root"/usr/bin/python3.[0-9][0-9] "$root"/usr/local/bin/python3 "${root:-$HOME}"/*/bin/python3; do
  [ -f "$file" ] && [ -x "$file" ] || continue
  real="${file%/*}:$(readlink -f "$file")" # a virtual environment's is a link, and not the same
  case $seen in *" $real "*) continue ;; esac
  seen="$seen$real "
  [ $((pythons += 1)) -le 6 ] || break
  said=$(python "$file")
  printf '%s\n' "$said"
  case $said in *python-numpy*) ;; *) continue ;; esac
  case $said in *python-onnxruntime*) has_onnxruntime=1 ;; esac
  case $said in *python-devices*) has_openvino=1 ;; esac
  [ -n "$has_onnxruntime" ] && [ -n "$has_openvino" ] && break # others are not needed
done
rails
clocks
heat
exit 0
