/* Refused: is in drivers/, which core/ may not include. */
#include "../drivers/two.h"
