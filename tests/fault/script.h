/* Scripts of operations on a disk, and what the guest must then read.
 *
 * A model is the list of all contents that the zones ever had: version 0
 * before the first operation, one more after each. A sector may be found as any version that is not
 * older than the last completed flush, and it is always found whole.
 */
#ifndef METALCOW_TESTS_SCRIPT_H
#define METALCOW_TESTS_SCRIPT_H

#include "geometry.h"
#include "q2_snapshot.h"

enum op_kind {
    OP_END,
    OP_WRITE,
    OP_ZERO,
    OP_DISCARD,
    OP_COMPRESS, /* whole clusters, each a stream of its own; not with an external data file */
    OP_FLUSH,
    OP_CREATE, /* a snapshot; durable like a flush */
    OP_APPLY,
    OP_DELETE,
};

/* Is everything before the operation's end durable when it has succeeded? */
static inline bool op_is_durable(enum op_kind kind)
{
    return kind == OP_FLUSH || kind == OP_CREATE || kind == OP_APPLY || kind == OP_DELETE;
}

/* Offsets and lengths count clusters, quarters of clusters and bytes. Clusters from BORDER - 3 on
 * are around the border between two L2 tables. */
#define BORDER 1000

struct op {
    enum op_kind kind;
    int32_t cluster, quarter, bytes;
    int32_t nb_clusters, nb_quarters, nb_bytes;
};

struct script {
    const char *name;
    const struct op *ops; /* up to OP_END; NULL: drawn by seed */
};

/* Whether a script has operations that a geometry refuses. */
bool script_fits(const struct script *script, const struct geometry *geometry);

extern const struct script scripts[];
extern const uint32_t nb_scripts;

/* An operation on guest bytes. */
struct guest_op {
    enum op_kind kind;
    uint64_t offset, length;
    uint64_t seed;     /* of the bytes that are written */
    uint32_t snapshot; /* CREATE, APPLY, DELETE: its number, from 1; its name is "sN" */
};

#define MAX_OPS 64u

/* Turn a script into operations; scripts of NULL ops are drawn from seed, nb_random of them.
 * Returns how many; the last one is a flush. */
uint32_t script_expand(const struct script *script, const struct subject *subject, uint64_t seed,
                       uint32_t nb_random, struct guest_op *ret_ops);

/* One random operation inside the zones. */
struct guest_op script_random(const struct subject *subject, uint64_t *seed);

/* Do it to the disk. buffer has room for the subject's model_size. */
enum q2_status op_run(const struct guest_op *op, struct q2_disk *disk, uint8_t *buffer);
/* Do it to the zones' bytes. */
void op_apply(const struct guest_op *op, const struct subject *subject, uint8_t *model);
/* The part of the model that it may change, whole sectors. */
void op_range(const struct guest_op *op, const struct subject *subject, uint64_t *ret_start,
              uint64_t *ret_length);
/* The name that a snapshot's number has. One at a time. */
const char *snapshot_name(uint32_t number);
const char *op_text(const struct guest_op *op);

/* Where a guest offset is in the model. */
uint64_t model_offset(const struct subject *subject, uint64_t guest_offset);
/* Read all zones. */
enum q2_status model_read(const struct subject *subject, struct q2_disk *disk, uint8_t *bytes);

/* Snapshots that a script makes, each number once at most. */
#define MODEL_MAX_SNAPSHOTS 8u

/* What may be found of a snapshot. */
enum presence {
    SNAPSHOT_UNKNOWN, /* never made */
    SNAPSHOT_ABSENT,
    SNAPSHOT_MAYBE,
    SNAPSHOT_PRESENT,
};

struct model_snapshot {
    enum presence presence;
    uint32_t version; /* the content that it has */
};

#define MODEL_MAX_VERSIONS (2 * MAX_OPS + 2)
#define MODEL_SAME         UINT64_MAX

struct model {
    const struct subject *subject;
    uint32_t nb_versions;
    uint32_t nb_buffers; /* >= nb_versions; the others are for later */
    uint8_t *versions[MODEL_MAX_VERSIONS];
    struct model_snapshot snapshots[MODEL_MAX_SNAPSHOTS];
};

void model_start(struct model *model, const struct subject *subject);
/* Version 0 alone again. */
void model_restart(struct model *model);
void model_free(struct model *model);
/* A new version, a copy of the newest one; returns its bytes. */
uint8_t *model_add(struct model *model);
uint8_t *model_newest(const struct model *model);
/* Do an operation: a new version, and the snapshot that a CREATE makes has the newest one. */
void model_do(struct model *model, const struct guest_op *op);
/* Which snapshots may be found while operation `at` is under way. failed: which operations did not
 * succeed; NULL: all did. */
void model_snapshots_at(struct model *model, const struct guest_op *ops, uint32_t nb_ops,
                        const bool *failed, uint32_t at);
/* Is every sector of bytes that of one of the versions from..to? Returns the model offset of the
 * first one that is not, or MODEL_SAME. */
uint64_t model_compare(const struct model *model, uint32_t from, uint32_t to, const uint8_t *bytes);

#endif
