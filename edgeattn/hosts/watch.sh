# Samples power, clocks, temperatures and load into files of the folder that it runs in, until its
# stdin ends: columns (which file is which) and samples (a line for each look). Times are seconds of
# uptime: the host's wall clock may be wrong, and may be set meanwhile. One process that forks a
# `sleep` a look. Behind sensors.sh. Set before it: pause, in seconds; often, how many looks apart
# slow things are.

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

samples() {
  fast='' slow=''
  while IFS="$tab" read -r _ kind _ file _; do
    case $kind in
      mv | ma | mw | uw | uj:*) fast="$fast$file$newline" ;;
      *) slow="$slow$file$newline" ;;
    esac
  done <columns
  [ -n "$fast" ] || pause=1 often=1
  IFS=$newline
  set -f
  count=0
  while :; do
    [ -z "$fast" ] || look f $fast
    if [ $((count % often)) = 0 ]; then
      look s $slow
      IFS= read -r line </proc/stat && printf 'c %s %s\n' "$up" "$line"
    fi
    count=$((count + 1))
    sleep "$pause"
  done
}

newline='
'
renice -n 19 -p $$ >/dev/null 2>&1 # what is measured comes first
sleep 0.01 2>/dev/null || pause=1 often=1
{ rails; clocks; heat; } >columns
: >samples
if ! grep -q '^column.\(m[aw]\|uw\|uj\)' columns &&
  tegrastats=$(command -v tegrastats || ls "$root/usr/bin/tegrastats" 2>/dev/null); then
  "$tegrastats" --interval 250 </dev/null 2>/dev/null | while IFS= read -r said; do
    uptime
    printf 't %s %s\n' "$up" "$said"
  done >>samples &
  teller=$!
fi
samples >>samples &
sampler=$!
trap 'kill $sampler $teller 2>/dev/null' EXIT
trap exit HUP INT TERM
echo watching
read -r _
exit 0
