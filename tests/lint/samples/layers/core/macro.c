/* Refused: is not a plain file name. */
#define HEADER <stdio.h>
#include HEADER
