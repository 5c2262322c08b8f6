# Samples power, clocks, temperatures and load into files of the folder that it runs in, until its
# stdin ends: columns (which file is which) and samples (a line for each look). Times are seconds of
# uptime: the host's wall clock may be wrong, and may be set meanwhile. Behind sensors.sh. $2 is a
# Python: a clock that ticks in one process takes a quarter of what a new `sleep` for each look takes;
# without one, looks are fewer.

look() { # LETTER FILE...: writes a line: the letter, the uptime, and the word each file begins with
  uptime
  line="$1 $up"
  shift
  for file; do
    value=''
    { IFS=' ' read -r value _ <"$file"; } 2>/dev/null
    line="$line ${value:--}"
  done
  printf '%s\n' "$line"
}

ticks() { # says an empty line now and then
  if [ -n "$python" ]; then
    exec "$python" -EsSB -c 'import sys, time
while True:
    sys.stdout.write("\n")
    sys.stdout.flush()
    time.sleep(float(sys.argv[1]))' "$pause" 2>/dev/null
  fi
  while echo; do sleep "$pause"; done 2>/dev/null
}

samples() { # looks at every tick that it reads
  fast='' slow=''
  while IFS="$tab" read -r _ kind _ file _; do
    case $kind in
      mv | ma | mw | uw | uj:*) fast="$fast$file$newline" ;;
      *) slow="$slow$file$newline" ;;
    esac
  done <columns
  IFS=$newline
  set -f
  count=0
  while read -r _; do
    [ -z "$fast" ] || look f $fast
    [ $((count % often)) -gt 0 ] || look s $slow
    count=$((count + 1))
  done
}

at() { command -v "$1" || ls "$root/usr/bin/$1" 2>/dev/null; } # NAME: says where it is

told() { # LETTER COMMAND...: writes what a program says now and then, each line with its uptime
  letter=$1
  shift
  "$@" </dev/null 2>/dev/null | while IFS= read -r said; do
    uptime
    printf '%s %s %s\n' "$letter" "$up" "$said"
  done >>samples &
  tellers="$tellers $!"
}

newline='
'
renice -n 19 -p $$ >/dev/null 2>&1 # what is measured comes first
python=$2 pause=0.1 often=10
if ! timeout 5 "$python" -EsSB -c pass 2>/dev/null; then
  python='' pause=0.25 often=4
  sleep 0.01 2>/dev/null || pause=1 often=1
fi
{ rails; clocks; heat; } >columns
: >samples
if ! grep -q '^column.\(m[aw]\|uw\|uj\)' columns; then
  pause=1 often=1
  program=$(at tegrastats) && told t "$program" --interval 250
fi
if [ ! -e "$root/proc/device-tree/model" ] && program=$(at nvidia-smi); then # a GPU on a card
  told n "$program" -i 0 -lms 200 --format=csv,noheader,nounits \
    --query-gpu=power.draw,clocks.sm,clocks.max.sm,utilization.gpu,temperature.gpu
fi
ticks </dev/null | samples >>samples &
sampler=$!
# What feeds them ends with its next word.
trap 'kill $sampler $tellers 2>/dev/null' EXIT
trap exit HUP INT TERM
echo watching
read -r _
exit 0
