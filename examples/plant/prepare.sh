#!/bin/sh
# Everything before the plant is touched: sh prepare.sh FOLDER [WEEKS]
# A year's log of the old controller, the limits of its signals, the same as a checked log, and what
# is learned from it.
set -e
test -f "$1/log.csv" || python historian.py --weeks "${2:-52}" --out "$1/log.csv"
test -f "$1/limits.toml" || python limits.py --log "$1/log.csv" --out "$1/limits.toml"
test -f "$1/log.hdf5" || # python -m finds good.py in this folder
    python -m moore convert "$1/log.csv" --columns columns.toml --reward good:reward \
        --out "$1/log.hdf5"
test -f "$1/offline/summary.json" ||
    python learn.py --log "$1/log.hdf5" --out "$1/offline"
