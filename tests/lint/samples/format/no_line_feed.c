/* Refused: does not end with one line feed. */
int sample;