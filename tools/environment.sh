#!/bin/sh
# Makes a virtual environment and installs this project in it, at the versions that constraints/ has for its Python.
#
#   tools/environment.sh check FOLDER [PYTHON]              makes FOLDER if there is none
#   tools/environment.sh install FOLDER REQUIREMENT...      installs in it
#   tools/environment.sh find [PYTHON]                      prints the interpreter that `check` would take
#
# PYTHON is a command or a series such as 3.12. Without it, the newest supported series that runs here is taken.
set -eu
cd "$(dirname "$0")/.."

# Prints the series of an interpreter that can make environments, nothing if it cannot or does not run.
series() {
  "$1" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

# Prints an interpreter of that series. A version manager's command on PATH may refuse to run, though the interpreter
# itself is installed.
of_series() {
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if [ "$(series "$candidate")" = "$1" ]; then
      echo "$candidate"
      return
    fi
  done
}

fail() {
  echo "$*" >&2
  exit 1
}

find_python() {
  case "$1" in
    "") supported=$(ls constraints | sed 's/\.txt$//' | sort -t. -k2,2nr) ;;
    3.[0-9]* | python3.[0-9]*) supported=${1#python} ;;
    *)
      [ -n "$(series "$1")" ] || fail "PYTHON=$1 does not run, or lacks venv or ensurepip"
      echo "$1"
      return ;;
  esac
  for one in $supported; do
    found=$(of_series "$one")
    if [ -n "$found" ]; then
      echo "$found"
      return
    fi
  done
  fail "no Python found that runs and has venv, of:" $supported "(PYTHON=command names another)"
}

supported() {
  [ -f "constraints/$(series "$1").txt" ] || fail "$1 is Python $(series "$1"), which has no file in constraints/"
}

check() {
  if [ ! -x "$1/bin/python" ]; then
    python=$(find_python "$2")
    supported "$python"
    echo "$1: Python $(series "$python"), from $python"
    "$python" -m venv "$1"
  elif [ -n "$2" ]; then
    python=$(find_python "$2")
    held=$(series "$1/bin/python")
    [ "$(series "$python")" = "$held" ] ||
      fail "$1 has Python $held, not $(series "$python"): remove it, or name another folder with VENV="
  else
    supported "$1/bin/python"
  fi
}

install() {
  folder=$1
  shift
  # `compat`: scripts in a folder that holds this clone import the package, not the folder of the same name.
  echo "installing into $folder, which takes from half a minute to several"
  "$folder/bin/python" -m pip install --quiet --config-settings editable_mode=compat \
    --constraint "constraints/$(series "$folder/bin/python").txt" "$@"
}

case "$1" in
  check) check "$2" "${3:-}" ;;
  install) shift; install "$@" ;;
  find) find_python "${2:-}" ;;
  *) fail "unknown command $1" ;;
esac
