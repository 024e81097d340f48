#!/bin/bash
# Refused: SC2086
# An expansion without quotes.
rm -f $1
