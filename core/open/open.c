/* Opening a disk, for reading or for writing.
 *
 * May call core/read/open.c and, if the options ask for writing, write_open.c. Invariant: on an
 * error everything that was opened is closed again.
 */
#include "core/read/backing_chain.h"
#include "core/read/open.h"
#include "write_open.h"

enum q2_status q2_disk_open(void *workspace, struct q2_source *image, struct q2_opener *opener,
                            const struct q2_disk_options *options, struct q2_fault *fault,
                            struct q2_disk **ret_disk)
{
    struct q2_disk *disk;
    enum q2_status status = q2_layers_open(workspace, image, opener, options, fault, &disk);

    if (status != Q2_OK)
        return status;
    if (options->writable)
        status = q2_write_prepare(disk, options);
    if (status != Q2_OK) {
        q2_chain_close(disk);
        *fault = disk->fault;
        return status;
    }
    *ret_disk = disk;
    return Q2_OK;
}
