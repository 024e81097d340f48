/* Refused: core/check/repairs.o needs q2_disk_repair of core/repair. */
#include "q2_check.h"

const void *const q2_sample_table[] = {(const void *)q2_disk_repair};
