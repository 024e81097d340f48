/* The scratch overlay of `io --snapshot`. May call drivers/posix and q2_create().
 *
 * Invariant: no name in a folder stays after scratch_make(), whether it succeeds or not.
 */
#include "scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "q2_create.h"
#include "q2_fail.h"

/* Make a file of a new name, open it, and remove the name. */
static enum q2_status open_file(struct scratch *scratch, char *name)
{
    int fd = mkstemp(name);
    enum q2_status status;

    if (fd < 0)
        return q2_status_from_errno(errno);
    (void)close(fd);
    status = q2_source_posix_open(&scratch->file, name, Q2_POSIX_WRITABLE);
    (void)unlink(name);
    scratch->is_open = status == Q2_OK;
    return status;
}

bool scratch_make(struct scratch *scratch, const struct image *image, struct q2_fault *ret_fault)
{
    const struct q2_create_options options = {.virtual_size =
                                                  q2_disk_size(image->disk) & ~UINT64_C(511)};
    const char *folder = getenv("TMPDIR");
    char name[Q2_MAX_PATH_LENGTH + 1];
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    enum q2_status status = workspace ? Q2_OK : Q2_ERR_LIMIT;

    (void)snprintf(name, sizeof(name), "%s/metalcow-XXXXXX", folder ? folder : "/var/tmp");
    if (status == Q2_OK)
        status = open_file(scratch, name);
    if (status != Q2_OK)
        (void)q2_fail(ret_fault, status, "no overlay for what is written", name);
    else
        status = q2_create(workspace, &scratch->file.source, &options, ret_fault);
    free(workspace);
    if (status != Q2_OK)
        scratch_close(scratch);
    return status == Q2_OK;
}

void scratch_close(struct scratch *scratch)
{
    if (scratch->is_open)
        q2_source_posix_close(&scratch->file);
    scratch->is_open = false;
}
