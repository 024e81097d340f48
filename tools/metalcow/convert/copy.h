/* Copying inputs to a target: what convert and dd have in common.
 *
 * Walks the inputs' allocation, and writes it to the target in guest order: data in chunks, zeros
 * by range. What the target's backing file has is left out.
 */
#ifndef METALCOW_COPY_H
#define METALCOW_COPY_H

#include "inputs.h"
#include "target.h"
#include "tools/metalcow/base/progress.h"
#include "tools/metalcow/base/rate.h"

struct conversion {
    struct inputs *inputs;
    struct target *target;
    struct progress progress;
    struct rate rate;
    bool writes_zeros; /* zeros count as copied, because no hole is made */
    bool offload;      /* have the file system copy where it can */
};

/* Copy all and make the target complete. false, and said on stderr: it is not. */
bool conversion_run(struct conversion *conversion);

#endif
