/* Workspaces for disks under test: taken again and again, because a new one of this size costs more
 * time than most cases, and harder on a disk than a pattern, because old structures look right. */
#include "workspace.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "q2_disk.h"

#define GARBAGE 0xa7
#define NB_KEPT 4u

static void *kept[NB_KEPT];
static size_t nb_kept;

static void *make(void)
{
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);

    if (!workspace)
        abort();
    memset(workspace, GARBAGE, Q2_WORKSPACE_SIZE);
    return workspace;
}

void *workspace_take(void)
{
    if (nb_kept == 0)
        return make();
    nb_kept--;
    ASAN_UNPOISON_MEMORY_REGION(kept[nb_kept], Q2_WORKSPACE_SIZE);
    return kept[nb_kept];
}

void workspace_give(void *workspace)
{
    if (!workspace)
        return;
    if (nb_kept == NB_KEPT) {
        free(workspace);
        return;
    }
    ASAN_POISON_MEMORY_REGION(workspace, Q2_WORKSPACE_SIZE);
    kept[nb_kept++] = workspace;
}
