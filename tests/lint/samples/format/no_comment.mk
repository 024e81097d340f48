all:
	echo
# Refused: does not begin with a comment that says what it is.
