# Runs on a host for as long as the connection to it lasts, and leaves nothing behind: it makes the
# folder that is worked in, holds the lock, and at the end kills what still runs and removes the
# folder. It ends when its stdin does, however that comes about; and where the line is dead and
# nobody tells, after $patience seconds without a word.
#
# Set before it: mark, which begins each of its lines; patience, in seconds. Reads lines: `beat`,
# `stay WHO`, `leave`. For dash, busybox and everything newer.

keeper=$$ folder='' guard='' pause=''
lock=${EDGEATTN_LOCK:-/tmp/edgeattn.lock} base=${TMPDIR:-/tmp}
case $base in /*) ;; *) base=$PWD/$base ;; esac

say() { printf '%s %s\n' "$mark" "$*"; }

uptime_s() { read -r up _ </proc/uptime && printf '%s' "${up%.*}"; }

leave() { # kills what runs in the folder, and removes it
  [ -n "$folder" ] || return 0
  for signal in TERM KILL; do
    for file in "$folder"/pids/*; do
      [ -f "$file" ] && read -r shell child <"$file" || continue
      [ "$signal" = TERM ] || [ -n "$pause" ] || { sleep 1; pause=1; }
      kill "-$signal" "-$shell" "-$child" 2>/dev/null
    done
    pause=''
  done
  rm -rf "$folder"
  folder=''
}

watch() { # leaves when no USR1 comes for so long
  trap : USR1
  # $sleeper may not be set yet; and what is forked, but runs no sleep yet, loses other signals.
  trap 'kill -KILL "$!" 2>/dev/null; exit' TERM
  while :; do
    sleep "$patience" 9<&- &
    sleeper=$!
    wait "$sleeper"
    [ $? -gt 128 ] || break # no signal has ended the wait
    kill -KILL "$sleeper" 2>/dev/null
  done
  leave
  kill -KILL "$keeper"
}

guarded() { # has what stands now be watched
  unguarded
  # A guard that is told to go before it has traps of its own must go: it is to inherit none.
  trap - TERM
  (exec </dev/null >/dev/null 2>&1; watch) &
  guard=$!
  trap 'end; exit' TERM
}

unguarded() {
  [ -z "$guard" ] || kill "$guard" 2>/dev/null
  guard=''
}

end() { # ends the stay
  unguarded
  leave
  exec 9<&-
}

holder() { # says who has the lock, and for how many seconds
  for pause in 1 ''; do # who has just come may not have said so yet
    for file in "$base"/edgeattn.??????/holder /tmp/edgeattn.??????/holder; do
      [ -r "$file" ] && read -r since who <"$file" || continue
      say busy "$(($(uptime_s) - since))" "$who"
      pause=''
      return
    done
    [ -z "$pause" ] || sleep 1
  done
  say busy
}

stay() {
  for tool in flock mktemp sha256sum wc cat; do
    command -v "$tool" >/dev/null || { say without "$tool"; return; }
  done
  [ -e "$lock" ] || (umask 022; set -C; : >"$lock") 2>/dev/null
  [ -r "$lock" ] || { say without "$lock"; return; }
  exec 9<"$lock"
  flock -n 9 || { exec 9<&-; holder; return; }
  for old in "$base"/edgeattn.??????; do # nobody else is here, so it is nobody's
    [ -d "$old" ] && [ ! -h "$old" ] && [ -O "$old" ] || continue
    rm -rf "$old" && say removed "$old"
  done
  if ! made=$(mktemp -d "$base/edgeattn.XXXXXX" 2>&1); then
    exec 9<&-
    say nowhere "$made"
    return
  fi
  folder=$made
  if ! { chmod 711 "$folder" && mkdir "$folder/pids" "$folder/room" &&
    printf '%s %s\n' "$(uptime_s)" "$1" >"$folder/holder"; } 2>/dev/null; then
    end
    say nowhere "nothing can be written to $base"
    return
  fi
  guarded
  say stay "$folder"
}

trap 'end; exit' HUP INT TERM PIPE
trap end EXIT
trap '' USR1 # nor may a word end a guard that has no traps yet
for tool in timeout sleep; do
  command -v "$tool" >/dev/null || { say without "$tool"; exit; }
done
guarded
say ready
while read -r word rest; do
  [ -z "$guard" ] || kill -USR1 "$guard" 2>/dev/null
  case $word in
    stay) stay "$rest" ;;
    leave)
      end
      guarded
      say left
      ;;
  esac
done
exit
