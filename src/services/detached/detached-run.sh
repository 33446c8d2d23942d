#!/bin/sh
# Runs one command on a front end so that it neither ends with the SSH connection nor runs twice.
# Put here by pangeo-bot, run as root. The folder of a run holds:
#   lock/       made by the first who starts the run; whoever finds it only watches
#   pid         the supervisor, "<process id> <start time>"
#   program.pid the program itself, the same form
#   log         what it prints, both streams
#   code        its exit status, written when it ended
#   values.yaml what helm reads; removed when the program ended, in every case
#
# detached-run.sh start DIR COMMAND...     starts the command or finds it started
# detached-run.sh poll DIR OFFSET MAX      prints one line about the run, then its log from OFFSET
# detached-run.sh stop DIR                 asks the program to end (TERM: a release becomes "failed")
# detached-run.sh cleanup DIR              removes the folder of a run that is over
set -u
umask 077

# The moment at which a process started: tells a process from a later one with its number.
started_at() {
    cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null
}

is_alive() {
    [ -f "$1" ] || return 1
    read -r number started < "$1" || return 1
    [ -n "$started" ] && [ "$(started_at "$number")" = "$started" ]
}

note_process() {
    echo "$2 $(started_at "$2")" > "$1.part" && mv -f "$1.part" "$1"
}

supervise() {
    dir=$1
    shift
    trap '' HUP
    # $$ is the process of the file, also in a function.
    note_process "$dir/pid" $$ || exit 74
    program=
    trap '[ -z "$program" ] || kill -TERM "$program" 2>/dev/null' TERM INT
    trap 'rm -f "$dir/values.yaml"' EXIT
    "$@" > "$dir/log" 2>&1 < /dev/null &
    program=$!
    note_process "$dir/program.pid" "$program"
    while :; do
        wait "$program"
        code=$?
        kill -0 "$program" 2>/dev/null || break
    done
    # The status first, the values after it: whoever brings them late sees the status and removes
    # them itself (see `start`).
    echo "$code" > "$dir/code.part" && mv -f "$dir/code.part" "$dir/code"
    rm -f "$dir/values.yaml"
}

state() {
    [ -d "$1/lock" ] || { echo absent; return; }
    # Life first, status second: a supervisor that is gone has written its status before.
    alive=no
    if is_alive "$1/pid" || is_alive "$1/program.pid"; then
        alive=yes
    elif [ ! -f "$1/pid" ] && [ -z "$(find "$1/lock" -maxdepth 0 -mmin +0.5)" ]; then
        # It is just being started.
        alive=yes
    fi
    if [ -s "$1/code" ]; then
        echo "ended $(cat "$1/code")"
    elif [ "$alive" = yes ]; then
        echo running
    else
        echo lost
    fi
}

verb=$1
dir=$2
shift 2
case $verb in
start)
    if mkdir "$dir/lock" 2>/dev/null; then
        setsid -f sh "$dir/detached-run.sh" supervise "$dir" "$@" < /dev/null > /dev/null 2>&1
        echo started
    elif [ -d "$dir/lock" ]; then
        [ ! -s "$dir/code" ] || rm -f "$dir/values.yaml"
        echo attached
    else
        # Not even a folder fits: say why.
        mkdir "$dir/lock"
        exit 74
    fi
    ;;
supervise)
    supervise "$dir" "$@"
    ;;
poll)
    # The state first: a run that ended has its whole log.
    found=$(state "$dir")
    [ "$found" != lost ] || rm -f "$dir/values.yaml"
    echo "$found"
    [ ! -f "$dir/log" ] || tail -c +"$(($1 + 1))" "$dir/log" | head -c "$2"
    ;;
stop)
    if is_alive "$dir/program.pid"; then
        read -r number started < "$dir/program.pid"
        kill -TERM "$number"
    fi
    ;;
cleanup)
    case $(state "$dir") in
    running) echo "the run is not over" >&2; exit 75 ;;
    *) rm -rf -- "$dir" ;;
    esac
    ;;
esac
