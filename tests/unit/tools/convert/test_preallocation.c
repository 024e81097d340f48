/* tools/metalcow/convert/preallocation.c: a device, which is as long as it is, and may be longer
 * than the disk that is made on it. */
#include "tests/support/t.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/convert/preallocation.h"

static uint32_t nb_writes, nb_said;

void print_fault(const char *path, const struct q2_fault *fault)
{
    T_CHECK_STR(path, "dev");
    T_CHECK_U64(fault->status, Q2_ERR_UNSUPPORTED);
    nb_said++;
}

void print_status(const char *path, enum q2_status status)
{
    (void)path;
    T_CHECK_U64(status, Q2_OK);
}

void image_print_fault(const struct image *image)
{
    T_CHECK(image == NULL);
}

bool image_flush(struct image *image)
{
    return image == NULL;
}

int image_source_fd(const struct q2_source *source)
{
    (void)source;
    return -1;
}

static enum q2_status count_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                  size_t length)
{
    (void)source;
    (void)offset;
    (void)buffer;
    (void)length;
    nb_writes++;
    return Q2_OK;
}

static enum q2_status do_nothing(struct q2_source *source)
{
    (void)source;
    return Q2_OK;
}

/* What a device has past the disk stays. */
static void test_preallocation_writes_no_zeros_to_a_device(void)
{
    static const struct q2_source_ops device_ops = {.write_at = count_write, .flush = do_nothing};
    struct q2_source_posix device = {.source = {.ops = &device_ops, .path = "dev", .size = 8192}};

    T_CHECK(!preallocate_raw(&device, 0, PREALLOCATION_FULL));
    T_CHECK(!preallocate_raw(&device, 0, PREALLOCATION_FALLOC));
    T_CHECK(!preallocate_raw(&device, 0, PREALLOCATION_METADATA));
    T_CHECK(preallocate_raw(&device, 0, PREALLOCATION_OFF));
    T_CHECK_U64(nb_writes, 0);
    T_CHECK_U64(nb_said, 3);
}

int main(void)
{
    T_RUN(test_preallocation_writes_no_zeros_to_a_device);
    return t_done();
}
