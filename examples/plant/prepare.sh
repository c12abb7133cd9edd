#!/bin/sh
# Everything before the plant is touched: sh prepare.sh FOLDER [WEEKS]
# A season's log of the old controller, the same as a checked log, and what is learned from it.
set -e
test -f "$1/season.csv" || python historian.py --weeks "${2:-13}" --out "$1/season.csv"
test -f "$1/season.hdf5" || # python -m finds good.py in this folder
    python -m moore convert "$1/season.csv" --columns columns.toml --reward good:reward \
        --out "$1/season.hdf5"
test -f "$1/offline/summary.json" ||
    python learn.py --log "$1/season.hdf5" --out "$1/offline"
