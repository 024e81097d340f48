/* Refused: binds 3 interfaces. */
#include "two.h"
#include <zlib.h>
