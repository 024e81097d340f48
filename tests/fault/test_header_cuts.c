/* Power cuts while names in the header change (core/write/header_change.c), and calls that fail.
 *
 *   test_header_cuts [PART ...]   PART selects rows by name
 *
 * Images of qemu-img get one list of names after the other. Judged is each content that the file
 * may have after a cut: it opens, it has the old or the new names, everything after the header
 * cluster and every extension that is no name is as it was; for some qemu-img tells the same.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "choice.h"
#include "core/read/disk.h"
#include "core/format/extension.h"
#include "crash_states.h"
#include "geometry.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "tests/support/t.h"

#define CAPACITY (4u << 20)
#define UNKNOWN  0x12345678u

struct names {
    const char *file, *format, *data;
};

#define NAME_100                                                                                   \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"     \
    "89abcdefghij"
#define NAME_500  NAME_100 NAME_100 NAME_100 NAME_100 NAME_100
#define NAME_1000 NAME_500 NAME_500

struct step {
    struct names names;
    bool refused; /* no room: Q2_ERR_LIMIT, and nothing changes */
};

static const struct row {
    const char *name, *options;
    bool external;
    uint32_t unknown; /* bytes of an unknown extension that is put in */
    struct step steps[6];
} rows[] = {
    {"64k",
     "cluster_size=65536",
     false,
     100,
     {{{"base.img", "raw", ""}, false},
      {{NAME_1000, "qcow2", ""}, false},
      {{"other", "", ""}, false},
      {{"", "", ""}, false},
      {{NAME_500, "raw", ""}, false}}},
    {"64k-long-extension",
     "cluster_size=65536",
     false,
     5000,
     {{{"base.img", "raw", ""}, false}, {{"", "", ""}, false}, {{NAME_1000, "raw", ""}, false}}},
    {"4k",
     "cluster_size=4096",
     false,
     200,
     {{{"base.img", "raw", ""}, false},
      {{NAME_1000, "qcow2", ""}, false},
      {{NAME_500, "raw", ""}, false},
      {{"", "", ""}, false}}},
    {"1k",
     "cluster_size=1024",
     false,
     16,
     {{{"base.img", "raw", ""}, false},
      {{NAME_100, "qcow2", ""}, false},
      {{NAME_1000, "raw", ""}, true},
      {{"", "", ""}, false}}},
    {"512",
     "cluster_size=512",
     false,
     8,
     {{{"base.img", "raw", ""}, false},
      {{NAME_100, "qcow2", ""}, false},
      {{NAME_500, "raw", ""}, true},
      {{"", "", ""}, false}}},
    {"4k-v2",
     "compat=0.10,cluster_size=4096",
     false,
     24,
     {{{"base.img", "raw", ""}, false}, {{NAME_1000, "", ""}, false}, {{"", "", ""}, false}}},
    {"64k-data-file",
     "cluster_size=65536,data_file=old.data",
     true,
     64,
     {{{"", "", "new.data"}, false},
      {{"base.img", "raw", "new.data"}, false},
      {{"base.img", "raw", NAME_1000}, false},
      {{"base.img", "raw", ""}, false}}},
    {"4k-data-file",
     "cluster_size=4096,data_file=old.data",
     true,
     0,
     {{{"", "", NAME_500}, false}, {{NAME_500, "qcow2", NAME_500}, false}, {{"", "", "a"}, false}}},
};
#define NB_ROWS (sizeof(rows) / sizeof(rows[0]))

/* One row at work. */
struct cuts {
    struct crash_visitor visitor;
    const struct row *row;
    struct crash_log log;
    struct crash_source source;
    void *workspace;
    uint8_t *initial;
    uint64_t size, cluster_size;
    struct names before, after;
    uint64_t nb_states, nb_qemu;
    char why[600];
};

static uint64_t total_states, total_runs;

static bool wrong(struct cuts *c, const char *what, const char *detail)
{
    (void)snprintf(c->why, sizeof(c->why), "%s: %.400s", what, detail);
    return false;
}

/* --- the image ------------------------------------------------------------------------------ */

static const char *folder;

/* Put an unknown extension before the others. */
static void add_unknown(struct cuts *c)
{
    uint32_t length = c->row->unknown, room = 8 + (length + 7) / 8 * 8;
    uint8_t *bytes = c->initial;
    size_t start = bytes[7] == 2 ? 72 : (size_t)bytes[102] << 8 | bytes[103];
    struct q2_extension_disk head = {q2_be32_make(UNKNOWN), q2_be32_make(length)};

    if (length == 0)
        return;
    /* With small clusters the names of the feature bits, last and without use, make room. */
    memmove(bytes + start + room, bytes + start, c->cluster_size - start - room);
    if (c->cluster_size <= 1024 && start > 72)
        memset(bytes + start + room, 0, c->cluster_size - start - room);
    memcpy(bytes + start, &head, sizeof(head));
    memset(bytes + start + 8, 0, room - 8);
    for (uint32_t i = 0; i < length; i++)
        bytes[start + 8 + i] = (uint8_t)(i * 7 + 1);
}

static void make(struct cuts *c)
{
    char path[600];
    FILE *file;

    subject_run(
        "cd '%s' && rm -f top.qcow2 old.data && qemu-img create -q -f qcow2 -o %s top.qcow2 "
        "1M && qemu-io -t unsafe -f qcow2 -c 'write -P 7 0 100k' top.qcow2 >/dev/null",
        folder, c->row->options);
    (void)snprintf(path, sizeof(path), "%s/top.qcow2", folder);
    file = fopen(path, "rb");
    if (!file)
        abort();
    c->initial = crash_memory(NULL, CAPACITY);
    memset(c->initial, 0, CAPACITY);
    c->size = fread(c->initial, 1, CAPACITY, file);
    (void)fclose(file);
    c->cluster_size = 1ull << c->initial[23];
    add_unknown(c);
}

static enum q2_status open_image(struct cuts *c, bool writable, struct q2_disk **ret_disk)
{
    const struct q2_disk_options options = {.metadata_only = true, .writable = writable};
    struct q2_fault fault;
    enum q2_status status =
        q2_disk_open(c->workspace, &c->source.source, NULL, &options, &fault, ret_disk);

    if (status != Q2_OK)
        (void)q2_fault_format(&fault, c->why, sizeof(c->why));
    return status;
}

static enum q2_status change(struct q2_disk *disk, const struct cuts *c)
{
    const struct names *n = &c->after;

    if (strcmp(n->data, c->before.data) != 0) {
        enum q2_status status = q2_disk_set_data_file(disk, n->data);
        if (status != Q2_OK)
            return status;
    }
    if (strcmp(n->file, c->before.file) != 0 || strcmp(n->format, c->before.format) != 0)
        return q2_disk_set_backing(disk, n->file, n->format);
    return Q2_OK;
}

/* --- the judge ------------------------------------------------------------------------------ */

/* The unknown extension, byte for byte, is somewhere in the header's list. */
static bool has_unknown(const struct cuts *c, const uint8_t *bytes)
{
    uint32_t length = c->row->unknown;
    size_t start = bytes[7] == 2 ? 72 : (size_t)bytes[102] << 8 | bytes[103];
    size_t from = c->initial[7] == 2 ? 72 : (size_t)c->initial[102] << 8 | c->initial[103];

    for (size_t at = start; length > 0 && at + 8 + length <= c->cluster_size;) {
        struct q2_extension_disk head;
        memcpy(&head, bytes + at, sizeof(head));
        if (q2_be32_get(head.type) == UNKNOWN)
            return memcmp(bytes + at, c->initial + from, 8 + length) == 0;
        if (q2_be32_get(head.type) == Q2_EXTENSION_END)
            return false;
        at += 8 + ((size_t)q2_be32_get(head.length) + 7) / 8 * 8;
    }
    return length == 0;
}

static bool has_names(const struct q2_layer_info *info, const struct names *names)
{
    return strcmp(info->backing_file, names->file) == 0 &&
           strcmp(info->backing_format, names->format) == 0 &&
           strcmp(info->data_file, names->data) == 0;
}

/* A data file and a backing file change one after the other. */
static bool has_some(const struct cuts *c, const struct q2_layer_info *info)
{
    const struct names between = {c->before.file, c->before.format, c->after.data};

    return has_names(info, &c->before) || has_names(info, &c->after) || has_names(info, &between);
}

static bool judge_qemu(struct cuts *c, const uint8_t *bytes, const char *backing)
{
    struct subject s = {.folder = folder};

    c->nb_qemu++;
    subject_store(&s, "cut.qcow2", bytes, c->size);
    if (c->row->external)
        subject_run("cd '%s' && truncate -s 1M new.data a", folder);
    if (subject_try("cd '%s' && qemu-img info -U --output=json cut.qcow2 >cut.json 2>cut.txt",
                    folder) != 0 &&
        subject_try("cd '%s' && grep -q \"data-file\\|No such file\\|File name too long\" cut.txt",
                    folder) != 0)
        return wrong(c, "qemu-img info fails", "see cut.txt");
    if (c->row->external)
        return true;
    if (subject_try("cd '%s' && qemu-img check -q 'json:{\"driver\":\"qcow2\",\"backing\":null,"
                    "\"file\":{\"driver\":\"file\",\"filename\":\"cut.qcow2\"}}' >cut.txt 2>&1",
                    folder) != 0)
        return wrong(c, "qemu-img check fails", "see cut.txt");
    if (backing[0] != '\0' &&
        subject_try("cd '%s' && grep -q '\"backing-filename\": \"%s\"' cut.json", folder, backing))
        return wrong(c, "qemu-img reads another backing file than", backing);
    return true;
}

static bool judge(struct cuts *c, const uint8_t *bytes, bool qemu)
{
    struct crash_source own = c->source;
    struct q2_check_result result = {0};
    struct q2_layer_info info;
    struct q2_disk *disk;
    bool ok;

    c->source.bytes = (uint8_t *)bytes;
    c->source.source.size = c->size;
    ok = open_image(c, false, &disk) == Q2_OK;
    if (ok) {
        q2_disk_layer_info(disk, 0, &info);
        ok = q2_disk_check(disk, NULL, &result) == Q2_OK &&
             result.corruptions + result.leaks + result.check_errors == 0;
        if (!ok)
            (void)wrong(c, "the check finds something", "");
        else if (!has_some(c, &info))
            ok = wrong(c, "neither the old nor the new names", info.backing_file);
        else if (!has_unknown(c, bytes))
            ok = wrong(c, "the unknown extension is lost", "");
        else if (memcmp(bytes + c->cluster_size, c->initial + c->cluster_size,
                        c->size - c->cluster_size) != 0)
            ok = wrong(c, "bytes after the header have changed", "");
        else if (qemu)
            ok = judge_qemu(c, bytes, info.backing_file);
        q2_disk_close(disk);
    }
    c->source = own;
    return ok;
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct cuts *c = (struct cuts *)visitor;

    total_states++;
    return judge(c, state->files[0].bytes, c->nb_states++ % 16 == 0);
}

/* --- runs ----------------------------------------------------------------------------------- */

/* The change, recorded; then every cut. */
static bool run_cuts(struct cuts *c, const uint8_t *start, bool refused)
{
    const struct crash_bounds bounds = {.all_up_to = 8, .sample = 64, .tears = 4, .seed = 1};
    const uint64_t capacity = CAPACITY;
    struct q2_disk *disk;
    enum q2_status status;

    c->log.nb_events = 0;
    c->log.arena_used = 0;
    if (open_image(c, true, &disk) != Q2_OK)
        return false;
    c->log.recording = true;
    status = change(disk, c);
    c->log.recording = false;
    if (status != (refused ? Q2_ERR_LIMIT : Q2_OK))
        (void)q2_fault_format(q2_disk_fault(disk), c->why, sizeof(c->why));
    q2_disk_close(disk);
    if (status != (refused ? Q2_ERR_LIMIT : Q2_OK))
        return false;
    if (refused)
        return memcmp(c->source.bytes, start, c->size) == 0 || wrong(c, "refused, but changed", "");
    c->visitor.visit = visit;
    crash_states_visit(&c->log, &start, &c->size, &capacity, 1, 1, &bounds, &c->visitor);
    return c->why[0] == '\0' && judge(c, c->source.bytes, true);
}

/* Every call fails once: an error, and old or new names in the file. */
static bool run_failures(struct cuts *c, const uint8_t *start)
{
    bool called = true, ok = true;

    for (uint64_t n = 1; called && ok; n++) {
        struct q2_disk *disk;
        enum q2_status status;

        crash_source_reset(&c->source, start, c->size);
        if (open_image(c, true, &disk) != Q2_OK)
            return false;
        c->log.nb_calls = 0;
        c->log.failed = 0;
        c->log.fail_calls = CRASH_ALL;
        c->log.fail_at = n;
        c->log.fail_status = Q2_ERR_IO;
        c->log.torn = (enum crash_torn)(n % 3);
        status = change(disk, c);
        called = c->log.nb_calls >= n;
        if (status == Q2_OK && (c->log.failed & CRASH_CHANGES))
            ok = wrong(c, "a failed call was not reported", "");
        else if (status != Q2_OK && status != Q2_ERR_IO)
            ok = wrong(c, "another error than the file's", q2_status_name(status));
        c->log.fail_at = 0;
        q2_disk_close(disk);
        total_runs++;
        ok = ok && judge(c, c->source.bytes, false);
    }
    return ok;
}

static bool run_step(struct cuts *c, const struct step *step)
{
    uint8_t *start = crash_memory(NULL, CAPACITY), *after = crash_memory(NULL, CAPACITY);
    bool ok;

    memcpy(start, c->source.bytes, CAPACITY);
    c->after = step->names;
    ok = run_cuts(c, start, step->refused);
    memcpy(after, c->source.bytes, CAPACITY);
    if (ok && !step->refused)
        ok = run_failures(c, start);
    crash_source_reset(&c->source, after, c->size);
    if (!step->refused)
        c->before = c->after;
    free(start);
    free(after);
    return ok;
}

static void test_row(const struct row *row)
{
    struct cuts *c = crash_memory(NULL, sizeof(*c));
    char name[100];
    bool ok = true;

    memset(c, 0, sizeof(*c));
    c->row = row;
    c->before = (struct names){"", "", row->external ? "old.data" : ""};
    c->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    make(c);
    crash_source_init(&c->source, &c->log, 0, "top.qcow2", c->initial, c->size, CAPACITY);
    for (size_t i = 0; i < 6 && row->steps[i].names.file && ok; i++) {
        ok = run_step(c, &row->steps[i]);
        if (!ok)
            printf("# step %zu, state %" PRIu64 ": %s\n", i, c->nb_states, c->why);
    }
    (void)snprintf(name, sizeof(name), "test_header_cuts_%s", row->name);
    (void)t_check(ok && c->nb_states > 0 && c->nb_qemu > 0, __FILE__, __LINE__, name);
    t_case_end(name);
    crash_source_free(&c->source);
    crash_log_free(&c->log);
    free(c->initial);
    free(c->workspace);
    free(c);
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);

    folder = choice.folder;
    for (size_t i = 0; i < NB_ROWS; i++) {
        if (choice_has(&choice, rows[i].name))
            test_row(&rows[i]);
    }
    printf("# total: %" PRIu64 " crash points, %" PRIu64 " runs with a failing call\n",
           total_states, total_runs);
    return t_done();
}
