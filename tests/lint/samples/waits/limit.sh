#!/bin/sh
# Refused: limit.sh:3: a fixed limit of time.
timeout 200 true
