/* drivers/nbd/routed_export.c: margins, what may be changed, and when the disk is flushed.
 *
 * The disk is an array that counts its calls; its middle part goes straight.
 */
#include "drivers/nbd/routed_export.h"

#include "drivers/nbd/protocol.h"
#include "tests/support/t.h"

#define KIB       1024u
#define MIB       (1024u * KIB)
#define DISK_SIZE (1u * MIB)
#define MARGIN    NBD_ROUTED_MARGIN

static uint8_t disk[DISK_SIZE];
static unsigned int nb_writes, nb_zeroes, nb_trims, nb_flushes;
static enum q2_status next_status;

static enum q2_status array_read(struct nbd_export *export, uint64_t offset, void *buffer,
                                 size_t length)
{
    T_CHECK(length > 0 && offset <= export->size && length <= export->size - offset);
    memcpy(buffer, disk + offset, length);
    return next_status;
}

static void check_range(uint64_t offset, uint64_t length)
{
    T_CHECK(length > 0 && offset <= DISK_SIZE && length <= DISK_SIZE - offset);
    T_CHECK(offset + length <= 256 * KIB || offset >= 512 * KIB);
}

static enum q2_status array_write(struct nbd_export *export, uint64_t offset, const void *buffer,
                                  size_t length)
{
    (void)export;
    check_range(offset, length);
    memcpy(disk + offset, buffer, length);
    nb_writes++;
    return next_status;
}

static enum q2_status array_zero(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    (void)export;
    check_range(offset, length);
    nb_zeroes++;
    return next_status;
}

static enum q2_status array_trim(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    (void)export;
    check_range(offset, length);
    nb_trims++;
    return next_status;
}

static enum q2_status array_flush(struct nbd_export *export)
{
    (void)export;
    nb_flushes++;
    return next_status;
}

static enum q2_status array_status(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                                   uint64_t *ret_length, uint32_t *ret_flags)
{
    T_CHECK(offset <= export->size && max_length <= export->size - offset);
    *ret_length = max_length;
    *ret_flags = 0;
    return next_status;
}

static const struct nbd_export_ops array_ops = {
    .read = array_read,
    .write = array_write,
    .write_zeroes = array_zero,
    .trim = array_trim,
    .flush = array_flush,
    .status = array_status,
};

static struct nbd_export array = {.ops = &array_ops, .size = DISK_SIZE};

/* [256 KiB, 512 KiB) goes straight. */
static const struct q2_route table[] = {
    {.guest_offset = 0, .length = 256 * KIB},
    {.guest_offset = 256 * KIB, .length = 256 * KIB, .volume_offset = 0, .straight = true},
    {.guest_offset = 512 * KIB, .length = 512 * KIB},
};

static struct nbd_export *begin(struct nbd_routed_export *routed)
{
    for (size_t i = 0; i < DISK_SIZE; i++)
        disk[i] = (uint8_t)(i * 7 + i / 512 + 1);
    nb_writes = nb_zeroes = nb_trims = nb_flushes = 0;
    next_status = Q2_OK;
    nbd_routed_export_init(routed, &array, table, 3);
    return &routed->export;
}

static void test_routed_export_has_margins(void)
{
    static uint8_t got[3 * MIB];
    static const struct {
        uint64_t offset;
        size_t length;
    } rows[] = {
        {0, 4096},
        {MARGIN - 4096, 4096},
        {MARGIN - 4096, 8192},
        {MARGIN, DISK_SIZE},
        {MARGIN - MIB, 3 * MIB},
        {MARGIN + DISK_SIZE - 1, 2},
        {MARGIN + DISK_SIZE, 4096},
        {2 * MARGIN + DISK_SIZE - 1, 1},
    };
    struct nbd_routed_export routed;
    struct nbd_export *export = begin(&routed);

    T_CHECK_U64(export->size, DISK_SIZE + 2 * MARGIN);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = true;

        memset(got, 0xee, sizeof(got));
        T_CHECK_U64(export->ops->read(export, rows[i].offset, got, rows[i].length), Q2_OK);
        for (size_t n = 0; n < rows[i].length; n++) {
            uint64_t at = rows[i].offset + n;
            bool inside = at >= MARGIN && at < MARGIN + DISK_SIZE;

            good = good && got[n] == (inside ? disk[at - MARGIN] : 0);
        }
        T_CHECK(good);
        T_CHECK(rows[i].length == sizeof(got) || got[rows[i].length] == 0xee);
    }
}

static void test_routed_export_changes_what_is_served_only(void)
{
    static const struct {
        const char *name;
        uint64_t offset, length;
        bool want;
    } rows[] = {
        {"first part", 0, 4096, true},
        {"all of the first part", 0, 256 * KIB, true},
        {"a byte too many", 0, 256 * KIB + 1, false},
        {"straight", 300 * KIB, 4096, false},
        {"all that is straight", 256 * KIB, 256 * KIB, false},
        {"around what is straight", 0, DISK_SIZE, false},
        {"its last byte", 512 * KIB - 1, 4096, false},
        {"after it", 512 * KIB, 4096, true},
        {"last sector", DISK_SIZE - 512, 512, true},
        {"into the margin", DISK_SIZE - 512, 1024, false},
        {"the margin behind", DISK_SIZE, 512, false},
        {"the margin before", 0 - MARGIN, 512, false},
        {"out of the margin before", 0 - 512ull, 1024, false},
    };
    static uint8_t bytes[DISK_SIZE];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nbd_routed_export routed;
        struct nbd_export *export = begin(&routed);
        enum q2_status want = rows[i].want ? Q2_OK : Q2_ERR_RANGE;
        uint64_t offset = MARGIN + rows[i].offset;

        t_row(rows[i].name);
        T_CHECK_U64(export->ops->write(export, offset, bytes, (size_t)rows[i].length), want);
        T_CHECK_U64(export->ops->write_zeroes(export, offset, rows[i].length), want);
        T_CHECK_U64(export->ops->trim(export, offset, rows[i].length), want);
        T_CHECK_U64(nb_writes, rows[i].want);
        T_CHECK_U64(nb_zeroes, rows[i].want);
        T_CHECK_U64(nb_trims, rows[i].want);
        T_CHECK(!rows[i].want || disk[rows[i].offset] == 0);
    }
    t_row("");
}

static void test_routed_export_flushes_what_was_changed(void)
{
    static uint8_t bytes[512];
    struct nbd_routed_export routed;
    struct nbd_export *export = begin(&routed);

    T_CHECK_U64(export->ops->flush(export), Q2_OK);
    T_CHECK_U64(nb_flushes, 1); /* what came before */
    T_CHECK_U64(export->ops->flush(export), Q2_OK);
    T_CHECK_U64(nb_flushes, 1);
    T_CHECK_U64(export->ops->write(export, MARGIN + 300 * KIB, bytes, 512), Q2_ERR_RANGE);
    T_CHECK_U64(export->ops->flush(export), Q2_OK);
    T_CHECK_U64(nb_flushes, 1);
    T_CHECK_U64(export->ops->write(export, MARGIN, bytes, 512), Q2_OK);
    next_status = Q2_ERR_IO;
    T_CHECK_U64(export->ops->flush(export), Q2_ERR_IO);
    T_CHECK_U64(export->ops->flush(export), Q2_ERR_IO); /* is not forgotten */
    next_status = Q2_OK;
    T_CHECK_U64(export->ops->flush(export), Q2_OK);
    T_CHECK_U64(nb_flushes, 4);
    /* A write that failed may have changed something. */
    next_status = Q2_ERR_IO;
    T_CHECK_U64(export->ops->trim(export, MARGIN, 512), Q2_ERR_IO);
    next_status = Q2_OK;
    T_CHECK_U64(export->ops->flush(export), Q2_OK);
    T_CHECK_U64(nb_flushes, 5);
}

static void test_routed_export_status_is_cut_at_borders(void)
{
    static const struct {
        uint64_t offset, length, want_length;
        uint32_t want_flags;
    } rows[] = {
        {0, 2 * MARGIN, MARGIN, NBD_STATE_HOLE | NBD_STATE_ZERO},
        {MARGIN - 1, 2, 1, NBD_STATE_HOLE | NBD_STATE_ZERO},
        {MARGIN, 2 * MIB, DISK_SIZE, 0},
        {MARGIN + DISK_SIZE, MARGIN, MARGIN, NBD_STATE_HOLE | NBD_STATE_ZERO},
    };
    struct nbd_routed_export routed;
    struct nbd_export *export = begin(&routed);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t length = 0;
        uint32_t flags = 99;

        T_CHECK_U64(export->ops->status(export, rows[i].offset, rows[i].length, &length, &flags),
                    Q2_OK);
        T_CHECK_U64(length, rows[i].want_length);
        T_CHECK_U64(flags, rows[i].want_flags);
    }
}

static void test_routed_export_tells_errors_of_the_disk(void)
{
    static uint8_t bytes[512];
    struct nbd_routed_export routed;
    struct nbd_export *export = begin(&routed);
    uint64_t length;
    uint32_t flags;

    next_status = Q2_ERR_IO;
    T_CHECK_U64(export->ops->read(export, 0, bytes, 512), Q2_OK);
    T_CHECK_U64(export->ops->read(export, MARGIN, bytes, 512), Q2_ERR_IO);
    T_CHECK_U64(export->ops->write(export, MARGIN, bytes, 512), Q2_ERR_IO);
    T_CHECK_U64(export->ops->write_zeroes(export, MARGIN, 512), Q2_ERR_IO);
    T_CHECK_U64(export->ops->status(export, MARGIN, 512, &length, &flags), Q2_ERR_IO);
}

/* [256 KiB, 768 KiB) goes straight. */
static const struct q2_route longer[] = {
    {.guest_offset = 0, .length = 256 * KIB},
    {.guest_offset = 256 * KIB, .length = 512 * KIB, .volume_offset = 0, .straight = true},
    {.guest_offset = 768 * KIB, .length = 256 * KIB},
};

/* What was announced can be written, and keeps its place: no trim, no zeros but as data. */
static void test_routed_export_announced_table_keeps_places(void)
{
    static const struct {
        const char *name;
        uint64_t offset, length;
        bool place_is_kept;
    } rows[] = {
        {"not announced", 0, 4096, false},
        {"behind it", 768 * KIB, 256 * KIB, false},
        {"announced", 512 * KIB, 256 * KIB, true},
        {"no multiple of a piece", 600 * KIB, 10001, true},
    };
    static uint8_t bytes[DISK_SIZE];

    memset(bytes, 0xbb, sizeof(bytes));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nbd_routed_export routed;
        struct nbd_export *export = begin(&routed);
        uint64_t offset = MARGIN + rows[i].offset, length = rows[i].length;
        bool kept = rows[i].place_is_kept, good = true;

        t_row(rows[i].name);
        nbd_routed_export_announce(&routed, longer, 3);
        T_CHECK_U64(export->ops->trim(export, offset, length), Q2_OK);
        T_CHECK_U64(nb_trims, !kept);
        T_CHECK_U64(export->ops->write(export, offset, bytes, (size_t)length), Q2_OK);
        T_CHECK_U64(nb_writes, 1);
        T_CHECK_U64(routed.written, length);
        T_CHECK_U64(export->ops->write_zeroes(export, offset, length), Q2_OK);
        T_CHECK_U64(nb_zeroes, !kept);
        for (uint64_t n = 0; n < length; n++)
            good = good && disk[rows[i].offset + n] == (kept ? 0 : 0xbb);
        T_CHECK(good);
        T_CHECK(rows[i].offset == 0 || disk[rows[i].offset - 1] != 0);
        T_CHECK(rows[i].offset + length == DISK_SIZE || disk[rows[i].offset + length] != 0);
        if (kept) {
            next_status = Q2_ERR_IO;
            T_CHECK_U64(export->ops->write_zeroes(export, offset, length), Q2_ERR_IO);
        }
    }
    t_row("");
}

/* Only what was announced keeps its place: zeros as data would take room for all of a range. */
static void test_routed_export_announced_table_cuts_ranges(void)
{
    static const struct {
        const char *name;
        uint64_t offset, length;
        uint64_t kept_from, kept_to; /* the part that keeps its place */
    } rows[] = {
        {"ends behind it", 700 * KIB, 324 * KIB, 700 * KIB, 768 * KIB},
        {"one byte of it", 768 * KIB - 1, 4096, 768 * KIB - 1, 768 * KIB},
        {"begins before it", 512 * KIB, 300 * KIB, 600 * KIB, 768 * KIB},
    };
    static const struct q2_route later[] = {
        {.guest_offset = 0, .length = 256 * KIB},
        {.guest_offset = 256 * KIB, .length = 256 * KIB, .volume_offset = 0, .straight = true},
        {.guest_offset = 512 * KIB, .length = 88 * KIB},
        {.guest_offset = 600 * KIB, .length = 168 * KIB, .volume_offset = MIB, .straight = true},
        {.guest_offset = 768 * KIB, .length = 256 * KIB},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nbd_routed_export routed;
        struct nbd_export *export = begin(&routed);
        uint64_t end = rows[i].offset + rows[i].length;
        uint64_t others =
            (rows[i].offset < rows[i].kept_from ? 1u : 0u) + (rows[i].kept_to < end ? 1u : 0u);
        bool good = true;

        t_row(rows[i].name);
        nbd_routed_export_announce(&routed, later, 5);
        T_CHECK_U64(export->ops->trim(export, MARGIN + rows[i].offset, rows[i].length), Q2_OK);
        T_CHECK_U64(nb_trims, others);
        T_CHECK_U64(export->ops->write_zeroes(export, MARGIN + rows[i].offset, rows[i].length),
                    Q2_OK);
        T_CHECK_U64(nb_zeroes, others);
        for (uint64_t n = rows[i].offset; n < end; n++) {
            bool kept = n >= rows[i].kept_from && n < rows[i].kept_to;

            good = good && disk[n] == (kept ? 0 : (uint8_t)(n * 7 + n / 512 + 1));
        }
        T_CHECK(good);
    }
    t_row("");
}

static void test_routed_export_switches_tables(void)
{
    static uint8_t bytes[512];
    struct nbd_routed_export routed;
    struct nbd_export *export = begin(&routed);

    nbd_routed_export_announce(&routed, longer, 3);
    nbd_routed_export_announce(&routed, table, 3); /* there is no next one any more */
    T_CHECK_U64(export->ops->trim(export, MARGIN + 600 * KIB, 512), Q2_OK);
    T_CHECK_U64(nb_trims, 1);
    nbd_routed_export_announce(&routed, longer, 3);
    T_CHECK_U64(export->ops->write(export, MARGIN + 600 * KIB, bytes, 512), Q2_OK);
    nbd_routed_export_switch(&routed);
    T_CHECK_U64(export->ops->write(export, MARGIN + 600 * KIB, bytes, 512), Q2_ERR_RANGE);
    T_CHECK_U64(export->ops->trim(export, MARGIN + 600 * KIB, 512), Q2_ERR_RANGE);
    T_CHECK_U64(export->ops->write_zeroes(export, MARGIN + 600 * KIB, 512), Q2_ERR_RANGE);
    T_CHECK_U64(export->ops->write(export, MARGIN + 768 * KIB, bytes, 512), Q2_OK);
    T_CHECK_U64(routed.written, 1024);
    T_CHECK_U64(export->ops->trim(export, MARGIN + 768 * KIB, 512), Q2_OK);
    T_CHECK_U64(nb_trims, 2);
}

int main(void)
{
    T_RUN(test_routed_export_has_margins);
    T_RUN(test_routed_export_changes_what_is_served_only);
    T_RUN(test_routed_export_flushes_what_was_changed);
    T_RUN(test_routed_export_status_is_cut_at_borders);
    T_RUN(test_routed_export_tells_errors_of_the_disk);
    T_RUN(test_routed_export_announced_table_keeps_places);
    T_RUN(test_routed_export_announced_table_cuts_ranges);
    T_RUN(test_routed_export_switches_tables);
    return t_done();
}
