# shellcheck shell=bash
# What the scripts share: packages of Debian, the folder of built programs, and a private PostgreSQL.
# Sourced by its neighbours after `set -euo pipefail`; it changes to the top of the project.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Where cargo puts what it builds. SQL is checked against .sqlx, so that no build needs a database.
export target_dir=${CARGO_TARGET_DIR:-target}
export SQLX_OFFLINE=${SQLX_OFFLINE:-true}

# need PACKAGE COMMAND|FILE … : remembers PACKAGE as missing unless the command or file is there.
missing_packages=()
need() {
  local package=$1 thing=$2
  case $thing in
    /*) compgen -G "$thing" >/dev/null && return 0 ;;
    *) command -v "$thing" >/dev/null && return 0 ;;
  esac
  missing_packages+=("$package")
}

# Whoever is not root gets everything but front ends: those are mount namespaces with an sshd.
warn_unless_root() {
  [ "$(id -u)" = 0 ] || say "not root: pretend front ends need root, so a deploy stops once its machines are made; use sudo for the whole"
}

need_to_build() {
  command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
  need gcc cc
  need libc6-dev /usr/include/stdio.h
}

need_to_serve() {
  need postgresql '/usr/lib/postgresql/*/bin/postgres'
  need openssh-server /usr/sbin/sshd
  need openssh-client ssh
}

need_to_test() {
  need libfaketime '/usr/lib/*/faketime/libfaketimeMT.so.1'
  need chromium chromium
  need chromium-driver chromedriver
  need python3-venv python3
  python3 -c 'import ensurepip' 2>/dev/null || missing_packages+=(python3-venv)
}

# Installs what `need` found missing, or names it and stops where that is not possible.
# Services that come with the packages are not started: we start our own, privately.
install_missing() {
  [ ${#missing_packages[@]} -gt 0 ] || return 0
  local packages
  packages=$(printf '%s\n' "${missing_packages[@]}" | sort -u | tr '\n' ' ')
  missing_packages=()
  command -v apt-get >/dev/null || fail "missing: ${packages}(Debian's names); install them and start again"
  [ "$(id -u)" = 0 ] || fail "missing packages, and only root may install them: apt-get install ${packages}"
  say "installing from Debian: ${packages}"
  local policy=/usr/sbin/policy-rc.d ours=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=1
  fi
  local status=0
  # shellcheck disable=SC2086  # a list of words, on purpose
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null; } || status=$?
  if [ "$ours" = 1 ]; then rm -f "$policy"; fi
  [ "$status" = 0 ] || fail "apt-get could not install ${packages}"
  if [ -d /run/systemd/system ]; then
    local service
    for service in postgresql ssh; do
      case " $packages" in *" $service"*) systemctl disable --now --quiet "$service" 2>/dev/null || true ;; esac
    done
  fi
}

# The folder with initdb and postgres of the newest installed version.
postgres_bin() {
  local folder
  folder=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  [ -x "$folder/postgres" ] || fail "PostgreSQL is missing below /usr/lib/postgresql"
  printf '%s' "$folder"
}

# as_postgres FOLDER COMMAND … : runs the command as a user that PostgreSQL accepts, with FOLDER
# mounted where that user can reach it (a checkout below /root is closed to others) as $PGFOLDER.
# The command ends when this script does, however that happens, but not before: Ctrl-C goes to the
# script alone (setsid), which first ends those who use the database.
as_postgres() {
  local folder=$1
  shift
  if [ "$(id -u)" != 0 ]; then
    PGFOLDER=$folder exec setsid setpriv --pdeathsig INT "$@"
  fi
  local as=(setpriv --reuid postgres --regid postgres --init-groups)
  if "${as[@]}" test -w "$folder"; then
    cd /
    PGFOLDER=$folder exec setsid "${as[@]}" --pdeathsig INT "$@"
  fi
  # /mnt is only covered in the mount namespace of this one process.
  # shellcheck disable=SC2016  # expands in the inner shell
  PGFOLDER=/mnt exec setsid unshare --mount --propagation private sh -c \
    'mount --bind "$1" /mnt && cd / && shift && exec "$@"' sh "$folder" "${as[@]}" --pdeathsig INT "$@"
}

# start_postgres FOLDER [SETTING=VALUE …] : starts a server of our own on a free loopback port with
# its data, password and log in FOLDER, waits until it answers, sets DATABASE_URL and postgres_pid.
start_postgres() {
  local folder bin password port
  folder=$(realpath -m "$1")
  shift
  bin=$(postgres_bin)
  mkdir -p "$folder"
  if [ ! -s "$folder/password" ]; then
    (umask 077 && head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/password")
  fi
  if [ "$(id -u)" = 0 ]; then chown -R postgres:postgres "$folder"; fi
  password=$(cat "$folder/password")
  if [ -s "$folder/data/PG_VERSION" ]; then
    local has is
    has=$(cat "$folder/data/PG_VERSION")
    is=$(basename "$(dirname "$bin")")
    [ "$has" = "$is" ] || fail "$folder was made by PostgreSQL $has but $is is installed: \`make clean\` removes it"
  else
    rm -rf "$folder/data"
    # shellcheck disable=SC2016  # expands in the inner shell
    (as_postgres "$folder" sh -c '"$1"/initdb --pgdata "$PGFOLDER/data" --username postgres --pwfile "$PGFOLDER/password" \
      --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 --no-sync --no-instructions >"$PGFOLDER/initdb.log" 2>&1' sh "$bin") ||
      fail "initdb failed: $folder/initdb.log"
  fi
  local settings=() setting attempt
  for setting in "$@"; do settings+=(-c "$setting"); done
  for attempt in 1 2 3 4 5 6 7 8; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
    # shellcheck disable=SC2016  # expands in the inner shell
    (as_postgres "$folder" sh -c 'bin=$1 port=$2; shift 2
      exec "$bin"/postgres -D "$PGFOLDER/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= "$@" >"$PGFOLDER/log" 2>&1' \
      sh "$bin" "$port" ${settings[@]+"${settings[@]}"}) &
    postgres_pid=$!
    local deadline=$((SECONDS + 60))
    while kill -0 "$postgres_pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
      if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && kill -0 "$postgres_pid" 2>/dev/null; then
        export DATABASE_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
        return 0
      fi
      sleep 0.1
    done
    grep -q 'could not bind\|Address already in use' "$folder/log" 2>/dev/null || break
  done
  tail -n 5 "$folder/log" >&2 || true
  fail "PostgreSQL does not start (attempt $attempt): $folder/log"
}

# Ends the server that start_postgres started; does nothing when there is none.
stop_postgres() {
  [ -n "${postgres_pid:-}" ] || return 0
  kill -INT "$postgres_pid" 2>/dev/null || true
  wait "$postgres_pid" 2>/dev/null || true
  postgres_pid=
}

# start_test_postgres : a server for this one run, in a temporary folder, as fast as it can be.
# It is stopped and removed when the script ends.
start_test_postgres() {
  test_postgres=$(mktemp -d "${TMPDIR:-/tmp}/pangeo-test-XXXXXX")
  trap 'stop_postgres; rm -rf "$test_postgres"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  start_postgres "$test_postgres" fsync=off synchronous_commit=off full_page_writes=off \
    max_connections=300 shared_buffers=128MB log_min_messages=error
}
