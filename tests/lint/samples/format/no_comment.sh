#!/bin/bash
echo hello
# Refused: does not begin with a comment that says what it is.
