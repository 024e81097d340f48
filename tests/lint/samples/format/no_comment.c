int sample;

/* Refused: does not begin with a comment that says what it is. */
