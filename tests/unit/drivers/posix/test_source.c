/* POSIX files: what is opened and what is refused, locks, limits of the device; the opener. */
#include "drivers/posix/lock.h"
#include "drivers/posix/opener.h"
#include "tests/contract/fat_image.h"
#include "tests/support/t.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static struct q2_source_posix file, other;

static enum q2_status open_path(const char *path, unsigned flags)
{
    static struct q2_source_posix once;
    enum q2_status status = q2_source_posix_open(&once, path, flags);

    if (status == Q2_OK)
        q2_source_posix_close(&once);
    return status;
}

static void test_open_only_files_and_wanted_devices(void)
{
    static char long_path[Q2_MAX_PATH_LENGTH + 2];
    static const struct {
        const char *row, *path; /* no '/' in front: in the folder */
        unsigned flags;
        enum q2_status status;
    } rows[] = {
        {"file", "file", 0, Q2_OK},
        {"file for writing", "file", Q2_POSIX_WRITABLE, Q2_OK},
        {"file where devices are allowed", "file", Q2_POSIX_BLOCK_DEVICES, Q2_OK},
        {"link", "link", 0, Q2_OK},
        {"missing", "missing", 0, Q2_ERR_NOT_FOUND},
        {"missing for writing", "missing", Q2_POSIX_WRITABLE, Q2_ERR_NOT_FOUND},
        {"below a file", "file/x", 0, Q2_ERR_NOT_FOUND},
        {"directory", "folder", 0, Q2_ERR_NOT_A_FILE},
        {"directory for writing", "folder", Q2_POSIX_WRITABLE, Q2_ERR_NOT_A_FILE},
        {"pipe", "pipe", 0, Q2_ERR_NOT_A_FILE},
        {"link to itself", "loop", 0, Q2_ERR_BAD_NAME},
        {"character device", "/dev/null", 0, Q2_ERR_NOT_A_FILE},
        {"character device as device", "/dev/zero", Q2_POSIX_BLOCK_DEVICES, Q2_ERR_NOT_A_FILE},
        {"block device", "block", 0, Q2_ERR_NOT_A_FILE},
        {"block device without a driver", "block", Q2_POSIX_BLOCK_DEVICES, Q2_ERR_NO_MEDIA},
        {"create what exists", "file", Q2_POSIX_CREATE, Q2_ERR_EXISTS},
        {"create below nothing", "missing/x", Q2_POSIX_CREATE, Q2_ERR_NOT_FOUND},
        {"create a directory", "folder", Q2_POSIX_CREATE | Q2_POSIX_REPLACE, Q2_ERR_NOT_A_FILE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path = rows[i].path;
        enum q2_status want = rows[i].status;
        t_row(rows[i].row);
        if (path[0] != '/')
            path = fat_image_path(path);
        /* Only root makes device nodes; without one there is nothing to open. */
        if (strcmp(rows[i].path, "block") == 0 && access(path, F_OK) != 0)
            want = Q2_ERR_NOT_FOUND;
        T_CHECK_U64(open_path(path, rows[i].flags), want);
    }
    t_row("empty path");
    T_CHECK_U64(open_path("", 0), Q2_ERR_BAD_NAME);
    memset(long_path, '/', sizeof(long_path) - 1);
    t_row("path too long");
    T_CHECK_U64(open_path(long_path, 0), Q2_ERR_BAD_NAME);
}

static void test_open_describes_the_file(void)
{
    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("file"), 0), Q2_OK);
    T_CHECK_U64(file.source.size, 1000);
    T_CHECK(!file.source.writable);
    T_CHECK_STR(file.source.path, fat_image_path("file"));
    T_CHECK_U64(q2_source_posix_open(&other, fat_image_path("link"), 0), Q2_OK);
    T_CHECK(memcmp(file.source.identity, other.source.identity, 16) == 0);
    q2_source_posix_close(&other);
    T_CHECK_U64(q2_source_posix_open(&other, fat_image_path("second"), 0), Q2_OK);
    T_CHECK(memcmp(file.source.identity, other.source.identity, 16) != 0);
    q2_source_posix_close(&other);
    q2_source_posix_close(&file);
}

static void test_open_create_and_replace(void)
{
    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("new"), Q2_POSIX_CREATE), Q2_OK);
    T_CHECK(file.source.writable);
    T_CHECK_U64(file.source.size, 0);
    T_CHECK_U64(file.source.ops->grow(&file.source, 4096), Q2_OK);
    T_CHECK_U64(open_path(fat_image_path("new"), Q2_POSIX_CREATE | Q2_POSIX_REPLACE), Q2_ERR_BUSY);
    T_CHECK_U64(file.source.size, 4096); /* a locked file is not emptied */
    q2_source_posix_close(&file);
    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("new"), 0), Q2_OK);
    T_CHECK_U64(file.source.size, 4096);
    q2_source_posix_close(&file);
    T_CHECK_U64(
        q2_source_posix_open(&file, fat_image_path("new"), Q2_POSIX_CREATE | Q2_POSIX_REPLACE),
        Q2_OK);
    T_CHECK_U64(file.source.size, 0);
    q2_source_posix_close(&file);
}

static void test_open_second_writer_is_busy_and_a_reader_is_not(void)
{
    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("file"), Q2_POSIX_WRITABLE), Q2_OK);
    T_CHECK_U64(q2_source_posix_open(&other, fat_image_path("file"), Q2_POSIX_WRITABLE),
                Q2_ERR_BUSY);
    T_CHECK_U64(q2_source_posix_open(&other, fat_image_path("file"), 0), Q2_OK);
    q2_source_posix_close(&other);
    q2_source_posix_close(&file);
    T_CHECK_U64(open_path(fat_image_path("file"), Q2_POSIX_WRITABLE), Q2_OK);
}

/* Lock a byte of a file as another program would: shared, and gone when fd is closed. */
static bool state(int fd, short at)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool is_stated(int fd, short at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* QEMU's bytes: 100 + n is a use, 200 + n forbids it to others; n is 0 to read, 1 to write, 2 to
 * write the same, 3 to resize. */
static const struct {
    const char *row;
    short at;
    bool stated; /* by us, writing */
    bool hinders;
    bool stated_reading, hinders_reading;
} lock_rows[] = {
    {"reads", 100, true, false, true, false},
    {"writes", 101, true, true, false, true},
    {"writes the same", 102, false, false, false, false},
    {"resizes", 103, true, true, false, true},
    {"forbids reading", 200, false, true, false, true},
    {"forbids writing", 201, true, true, true, false},
    {"forbids writing the same", 202, false, false, false, false},
    {"forbids resizing", 203, true, true, true, false},
};

static void test_open_for_writing_speaks_qemus_locks(void)
{
    const char *path = fat_image_path("file");

    for (size_t i = 0; i < sizeof(lock_rows) / sizeof(lock_rows[0]); i++) {
        int fd = open(path, O_RDWR);

        t_row(lock_rows[i].row);
        T_CHECK_U64(q2_source_posix_open(&file, path, Q2_POSIX_WRITABLE), Q2_OK);
        T_CHECK_U64(is_stated(fd, lock_rows[i].at), lock_rows[i].stated);
        q2_source_posix_close(&file);
        T_CHECK(!is_stated(fd, lock_rows[i].at));
        T_CHECK(state(fd, lock_rows[i].at));
        T_CHECK_U64(open_path(path, Q2_POSIX_WRITABLE), lock_rows[i].hinders ? Q2_ERR_BUSY : Q2_OK);
        T_CHECK_U64(open_path(path, 0), Q2_OK);
        (void)close(fd);
    }
}

static void test_open_for_stable_reading_speaks_qemus_locks(void)
{
    const char *path = fat_image_path("file");

    for (size_t i = 0; i < sizeof(lock_rows) / sizeof(lock_rows[0]); i++) {
        int fd = open(path, O_RDWR);

        t_row(lock_rows[i].row);
        T_CHECK_U64(q2_source_posix_open(&file, path, Q2_POSIX_STABLE), Q2_OK);
        T_CHECK_U64(is_stated(fd, lock_rows[i].at), lock_rows[i].stated_reading);
        q2_lock_posix_release(file.fd);
        T_CHECK(!is_stated(fd, lock_rows[i].at));
        q2_source_posix_close(&file);
        T_CHECK(state(fd, lock_rows[i].at));
        T_CHECK_U64(open_path(path, Q2_POSIX_STABLE),
                    lock_rows[i].hinders_reading ? Q2_ERR_BUSY : Q2_OK);
        (void)close(fd);
    }
}

/* As a user without rights: root may do everything. */
static void test_open_without_rights_is_read_only_or_denied(void)
{
    bool is_root = geteuid() == 0;

    fat_image_run("chmod 755 . && chmod 444 readable && chmod 000 closed");
    if (is_root && seteuid(65534) != 0)
        T_CHECK(!"seteuid");
    T_CHECK_U64(open_path(fat_image_path("readable"), 0), Q2_OK);
    T_CHECK_U64(open_path(fat_image_path("readable"), Q2_POSIX_WRITABLE), Q2_ERR_READ_ONLY);
    T_CHECK_U64(open_path(fat_image_path("closed"), 0), Q2_ERR_DENIED);
    T_CHECK_U64(open_path(fat_image_path("closed"), Q2_POSIX_WRITABLE), Q2_ERR_DENIED);
    if (is_root && seteuid(0) != 0)
        T_CHECK(!"seteuid back");
}

static void test_read_file_cut_underneath_is_an_error(void)
{
    uint8_t bytes[16];

    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("second"), 0), Q2_OK);
    T_CHECK_U64(file.source.ops->read_at(&file.source, 990, bytes, 10), Q2_OK);
    fat_image_run("truncate -s 995 second");
    T_CHECK_U64(file.source.ops->read_at(&file.source, 990, bytes, 10), Q2_ERR_IO);
    T_CHECK_U64(file.source.ops->read_at(&file.source, 995, bytes, 1), Q2_ERR_IO);
    T_CHECK_U64(file.source.ops->read_at(&file.source, 990, bytes, 5), Q2_OK);
    fat_image_run("truncate -s 1000 second");
    q2_source_posix_close(&file);
}

/* The limit of the process stands in for a full device: EFBIG. */
static void test_write_and_grow_past_the_limit_are_no_space(void)
{
    struct rlimit old, small;
    uint8_t bytes[8192] = {0};

    T_CHECK_U64(q2_source_posix_open(&file, fat_image_path("small"), Q2_POSIX_CREATE), Q2_OK);
    T_CHECK_U64(file.source.ops->grow(&file.source, 100000), Q2_OK);
    (void)signal(SIGXFSZ, SIG_IGN);
    T_CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = old;
    small.rlim_cur = 4096;
    T_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    T_CHECK_U64(file.source.ops->write_at(&file.source, 0, bytes, 4096), Q2_OK);
    T_CHECK_U64(file.source.ops->write_at(&file.source, 0, bytes, 8192), Q2_ERR_NO_SPACE);
    T_CHECK_U64(file.source.ops->write_at(&file.source, 50000, bytes, 1), Q2_ERR_NO_SPACE);
    T_CHECK_U64(file.source.ops->grow(&file.source, 200000), Q2_ERR_NO_SPACE);
    T_CHECK_U64(file.source.size, 100000);
    T_CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    T_CHECK_U64(file.source.ops->grow(&file.source, 1ull << 63), Q2_ERR_NO_SPACE);
    T_CHECK_U64(file.source.ops->grow(&file.source, 100000), Q2_ERR_ARGUMENT);
    T_CHECK_U64(file.source.size, 100000);
    q2_source_posix_close(&file);
}

static void test_status_from_errno_knows_the_common_ones(void)
{
    static const struct {
        int error;
        enum q2_status status;
    } rows[] = {
        {ENOENT, Q2_ERR_NOT_FOUND},
        {EACCES, Q2_ERR_DENIED},
        {EROFS, Q2_ERR_READ_ONLY},
        {ENOSPC, Q2_ERR_NO_SPACE},
        {EDQUOT, Q2_ERR_NO_SPACE},
        {EFBIG, Q2_ERR_NO_SPACE},
        {EMFILE, Q2_ERR_LIMIT},
        {EIO, Q2_ERR_IO},
        {EBADF, Q2_ERR_IO},
        {ENOMEDIUM, Q2_ERR_NO_MEDIA},
        {0, Q2_ERR_IO},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        T_CHECK_U64(q2_status_from_errno(rows[i].error), rows[i].status);
}

static void test_opener_holds_two_files_per_layer_and_no_more(void)
{
    static struct q2_opener_posix posix;
    static struct q2_source *sources[Q2_POSIX_MAX_OPEN + 1];
    struct q2_opener *opener = &posix.opener;

    q2_opener_posix_init(&posix);
    for (size_t i = 0; i < Q2_POSIX_MAX_OPEN; i++) {
        T_CHECK_U64(opener->ops->open(opener, fat_image_path("file"), false, &sources[i]), Q2_OK);
        T_CHECK(sources[i]->size == 1000 && !sources[i]->writable);
    }
    T_CHECK_U64(
        opener->ops->open(opener, fat_image_path("file"), false, &sources[Q2_POSIX_MAX_OPEN]),
        Q2_ERR_LIMIT);
    opener->ops->close(opener, sources[17]);
    T_CHECK_U64(opener->ops->open(opener, fat_image_path("missing"), false, &sources[17]),
                Q2_ERR_NOT_FOUND);
    T_CHECK_U64(opener->ops->open(opener, "/dev/null", false, &sources[17]), Q2_ERR_NOT_A_FILE);
    T_CHECK_U64(opener->ops->open(opener, fat_image_path("second"), true, &sources[17]), Q2_OK);
    T_CHECK(sources[17]->writable);
    for (size_t i = 0; i < Q2_POSIX_MAX_OPEN; i++)
        opener->ops->close(opener, sources[i]);
    T_CHECK_U64(opener->ops->open(opener, fat_image_path("second"), true, &sources[0]), Q2_OK);
    opener->ops->close(opener, sources[0]);
}

int main(void)
{
    fat_image_start();
    fat_image_run("head -c 1000 /dev/zero >file && cp file second && cp file readable"
                  " && cp file closed && ln -s file link && ln -s loop loop && mkdir folder"
                  " && mkfifo pipe && { mknod block b 240 199 || true; }");
    T_RUN(test_open_only_files_and_wanted_devices);
    T_RUN(test_open_describes_the_file);
    T_RUN(test_open_create_and_replace);
    T_RUN(test_open_second_writer_is_busy_and_a_reader_is_not);
    T_RUN(test_open_for_writing_speaks_qemus_locks);
    T_RUN(test_open_for_stable_reading_speaks_qemus_locks);
    T_RUN(test_open_without_rights_is_read_only_or_denied);
    T_RUN(test_read_file_cut_underneath_is_an_error);
    T_RUN(test_write_and_grow_past_the_limit_are_no_space);
    T_RUN(test_status_from_errno_knows_the_common_ones);
    T_RUN(test_opener_holds_two_files_per_layer_and_no_more);
    return t_done();
}
