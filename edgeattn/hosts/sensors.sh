# What a host tells of its clocks, temperatures and power: files of one line, which need no root.
# For dash, busybox and everything newer. Set before it: root, put before every path.

tab=$(printf '\t')

first_line() { # sets $value to what stands first in a file, or to nothing
  value=''
  { IFS= read -r value <"$1"; } 2>/dev/null || [ -n "$value" ]
}

column() { # KIND LABEL FILE: says a file that can be read, and what it holds
  first_line "$3" || return 1
  printf 'column\t%s\t%s\t%s\t%s\n' "$1" "${2:-unnamed}" "$3" "$value"
}

rails() {
  for chip in "$root"/sys/class/hwmon/hwmon*; do
    first_line "$chip/name" || continue
    case $value in ina*) ;; *) continue ;; esac
    name=$value
    for file in "$chip"/in*_label; do
      number=${file##*/in}
      number=${number%_label}
      first_line "$file" || continue
      case $value in '' | NC | *shunt*) continue ;; esac
      label=$value
      [ -r "$chip/curr${number}_input" ] || continue
      column mv "$label" "$chip/in${number}_input" && column ma "$label" "$chip/curr${number}_input"
    done
    [ -e "$chip/in1_label" ] || column uw "$name" "$chip/power1_input"
  done
  for file in "$root"/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*; do
    first_line "$file" && column mw "$value" "${file%/*}/in_power${file##*_}_input"
  done
  for zone in "$root"/sys/class/powercap/intel-rapl:*; do
    first_line "$zone/name" || continue
    case $value in package-* | psys) ;; *) continue ;; esac
    label=$value
    first_line "$zone/max_energy_range_uj"
    column "uj:$value" "$label" "$zone/energy_uj"
  done
}

clocks() {
  for clock in "$root"/sys/class/devfreq/*; do
    case ${clock##*/} in
      *gpu* | *ga10b* | *gv11b* | *gp10b* | *gm20b*) kind=gpu ;;
      *emc* | *dmc* | *memory*) kind=memory ;;
      *) continue ;;
    esac
    column "${kind}_hz" "${clock##*/}" "$clock/cur_freq"
    column "${kind}_most_hz" "${clock##*/}" "$clock/max_freq"
    column "${kind}_load" "${clock##*/}" "$clock/device/load"
  done
  count=0
  for clock in "$root"/sys/devices/system/cpu/cpufreq/policy*; do
    [ $((count += 1)) -le 16 ] || break
    column cpu_khz "${clock##*/policy}" "$clock/scaling_cur_freq"
    column cpu_most_khz "${clock##*/policy}" "$clock/scaling_max_freq"
  done
}

heat() { # temperatures, and whether they hold anything back
  count=0
  for zone in "$root"/sys/class/thermal/thermal_zone*; do
    [ $((count += 1)) -le 24 ] || break
    first_line "$zone/type" && column millidegrees "$value" "$zone/temp"
  done
  count=0
  for cooler in "$root"/sys/class/thermal/cooling_device*; do
    [ $((count += 1)) -le 32 ] || break
    first_line "$cooler/type" || continue
    case $value in # others turn fans, or dim screens
      *cpu* | *CPU* | *rocessor* | *gpu* | *GPU* | *devfreq* | *throttle* | *balanced* | *heavy*) ;;
      *) continue ;;
    esac
    column cooling "$value" "$cooler/cur_state"
  done
  for file in "$root"/sys/class/hwmon/hwmon*/oc*_event_cnt; do
    column overcurrents "${file##*/}" "$file"
  done
  for file in "$root"/sys/devices/platform/soc*/soc*:firmware/get_throttled; do
    column raspberry_throttled get_throttled "$file"
  done
  column throttles package "$root/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
}

uptime() { IFS=' ' read -r up _ </proc/uptime; }

moment() { # says the uptime, and what all processors were busy and idle so far, in clock ticks
  uptime
  IFS=' ' read -r _ line </proc/stat
  printf '%s %s\n' "$up" "$line"
}

processes() { # says what every process has had of the processors so far, in clock ticks
  uptime
  printf 'uptime %s %s %s\n' "$$" "$up" "$(getconf CLK_TCK 2>/dev/null || echo 100)"
  cat /proc/[0-9]*/stat 2>/dev/null | awk '{
    name = $0; sub(/^[^(]*\(/, "", name); sub(/\)[^)]*$/, "", name); gsub(/[^!-~]/, "_", name)
    rest = $0; sub(/^.*\) /, "", rest); split(rest, of, " ")
    print "process", $1, of[2], of[12] + of[13], substr(name, 1, 40)
  }'
}
