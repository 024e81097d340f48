/* core/read/encrypted.c: which sectors are decrypted and encrypted with which number; no ciphertext
 * gets out, no plaintext into a file. */
#include <stdlib.h>

#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

/* "Encryption" that depends on sector and place, so that a wrong number or a shift shows. */
static void crypt(uint64_t sector, uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(bytes[i] ^ ((sector + i / 512) * 7 + i % 512 + 1));
}

struct fake_cipher {
    struct q2_cipher cipher;
    uint64_t nb_calls;
    bool misused; /* a length that is no multiple of the sector */
};

static void fake_decrypt(struct q2_cipher *cipher, uint64_t sector, void *bytes, size_t length)
{
    struct fake_cipher *fake = (struct fake_cipher *)cipher;

    fake->nb_calls++;
    fake->misused = fake->misused || length == 0 || length % 512 != 0;
    crypt(sector, bytes, length);
}

/* The other way round is the same. */
static const struct q2_cipher_ops cipher_ops = {.decrypt = fake_decrypt, .encrypt = fake_decrypt};
static struct fake_cipher cipher;

static enum q2_status fake_unlock(struct q2_unlocker *unlocker, struct q2_source *image,
                                  uint32_t crypt_method, uint64_t offset, uint64_t length,
                                  struct q2_cipher **ret_cipher)
{
    (void)unlocker, (void)image, (void)crypt_method, (void)offset, (void)length;
    cipher = (struct fake_cipher){.cipher = {.ops = &cipher_ops}};
    *ret_cipher = &cipher.cipher;
    return Q2_OK;
}

static void fake_lock(struct q2_unlocker *unlocker, struct q2_cipher *locked)
{
    (void)unlocker;
    T_CHECK(locked == &cipher.cipher);
}

static const struct q2_unlocker_ops unlocker_ops = {.unlock = fake_unlock, .lock = fake_lock};
static struct q2_unlocker unlocker = {.ops = &unlocker_ops};

static struct image image;
static struct fixture f;

/* A data cluster whose bytes are encrypted in the file. */
static void add_data(uint64_t guest, uint32_t method, uint32_t seed)
{
    uint64_t size = image_cluster_size(&image), host = image_data(&image, guest, seed);
    uint8_t *file = image.spec.external ? image.data : image.bytes;

    crypt((method == 1 ? guest & ~(size - 1) : host) / 512, file + host, size);
}

static void setup(const struct image_spec *spec, uint32_t method)
{
    uint64_t at, size;

    image_start(&image, spec);
    size = image_cluster_size(&image);
    if (method == 2) {
        at = image_extension(&image, 0x0537be77, "0123456789abcdef", 16);
        image_put64(&image, at + 8, image_alloc(&image, 1));
        image_put64(&image, at + 16, size);
    }
    image_field_set(&image, "crypt_method", method);
    add_data(3 * size, method, 1);
    add_data(2 * size, method, 2); /* host and guest order differ */
    add_data(0, method, 3);
    if (image.spec.version > 2)
        image_zero(&image, size, false);
    add_data(5 * size, method, 4);
    if (image.spec.external)
        image_data_name(&image, "data.raw");
    fixture_start(&f, &image);
    f.options.unlocker = &unlocker;
    T_CHECK_STR(q2_status_name(fixture_open(&f)), "Q2_OK");
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static void test_encrypted_read_every_method_is_the_model(void)
{
    static const struct {
        const char *row;
        uint32_t method;
        struct image_spec spec;
    } rows[] = {
        {"AES", 1, {.size = MIB}},
        {"LUKS", 2, {.size = MIB}},
        {"AES, 512 byte clusters", 1, {.size = 8 * 512, .cluster_bits = 9}},
        {"LUKS, 512 byte clusters", 2, {.size = 8 * 512, .cluster_bits = 9}},
        {"LUKS, data file", 2, {.size = MIB, .external = true}},
        {"AES, size no multiple of 512", 1, {.size = 5 * 64 * KIB + 1000}},
        {"LUKS, extended L2", 2, {.size = MIB, .extended = true}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        setup(&rows[i].spec, rows[i].method);
        if (f.disk)
            T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, rows[i].spec.size),
                        FIXTURE_SAME);
        T_CHECK(cipher.nb_calls > 0 && !cipher.misused);
        cleanup();
    }
}

static void test_encrypted_read_every_small_range(void)
{
    uint8_t bytes[1200];

    setup(&(struct image_spec){.size = MIB}, 2);
    for (size_t start = 500; start < 530; start++) {
        for (size_t length = 1; length < 1100; length += length < 20 ? 1 : 97) {
            T_CHECK_U64(q2_disk_read(f.disk, 128 * KIB + start, bytes, length), Q2_OK);
            T_CHECK(memcmp(bytes, image.model.bytes + 128 * KIB + start, length) == 0);
        }
    }
    cleanup();
}

static void test_encrypted_read_file_ends_inside_the_sector(void)
{
    uint8_t bytes[1024];
    uint64_t host;

    setup(&(struct image_spec){.size = 5 * 64 * KIB + 700}, 1);
    host = image_get64(&image, image_l2_entry(&image, 5 * 64 * KIB)) & 0xffffff;
    fixture_close(&f);
    f.image.source.size = host + 700;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 5 * 64 * KIB, bytes, 512), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 5 * 64 * KIB, bytes, 700), Q2_ERR_TRUNCATED);
    T_CHECK_U64(fixture_status(&f), Q2_ERR_TRUNCATED);
    cleanup();
}

/* Three places are read: the rest of a sector, a whole one, the start of a third; the middle one
 * continues the first, so a window is tried before. */
static void test_encrypted_read_source_fails(void)
{
    uint8_t bytes[1200];

    setup(&(struct image_spec){.size = MIB}, 1);
    T_CHECK_U64(q2_disk_read(f.disk, 0, bytes, 1), Q2_OK);
    for (uint32_t call = 1; call <= 2; call++) {
        fake_source_reset(&f.image);
        f.image.fail_call = call;
        f.image.fail_on = true;
        T_CHECK_U64(q2_disk_read(f.disk, 100, bytes, 1200), Q2_ERR_IO);
    }
    fake_source_reset(&f.image);
    f.image.fail_call = 3;
    T_CHECK_U64(q2_disk_read(f.disk, 100, bytes, 1200), Q2_OK);
    T_CHECK(memcmp(bytes, image.model.bytes + 100, sizeof(bytes)) == 0);
    cleanup();
}

static void test_encrypted_read_small_requests_in_a_row_are_fetched_ahead(void)
{
    uint8_t bytes[4096];

    setup(&(struct image_spec){.size = MIB}, 2);
    T_CHECK_U64(q2_disk_read(f.disk, 0, bytes, 4096), Q2_OK);
    fake_source_reset(&f.image);
    for (uint64_t at = 4096; at < 64 * KIB; at += 4096) {
        T_CHECK_U64(q2_disk_read(f.disk, at, bytes, 4096), Q2_OK);
        T_CHECK(memcmp(bytes, image.model.bytes + at, 4096) == 0);
    }
    T_CHECK_U64(f.image.nb_reads, 1);
    cleanup();
}

/* Zeros are zeros, compressed clusters are not encrypted. */
static void test_encrypted_read_compressed_cluster_is_plain(void)
{
    uint8_t bytes[100];

    setup(&(struct image_spec){.size = MIB}, 2);
    fixture_close(&f);
    image_compressed(&image, 7 * 64 * KIB, 1);
    f.image.bytes = image.bytes;
    f.image.source.size = f.image.nb_held = image.size;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 7 * 64 * KIB, bytes, 100), Q2_OK);
    T_CHECK(memcmp(bytes, image.model.bytes + 7 * 64 * KIB, 100) == 0);
    cleanup();
}

/* --- writing --------------------------------------------------------------------------------- */

#define CAPACITY (8 * MIB)

static uint8_t *memory, *data_memory, *model;

/* Open what setup() built for writing. */
static void setup_writable(const struct image_spec *spec, uint32_t method)
{
    setup(spec, method);
    fixture_close(&f);
    memcpy(memory, image.bytes, image.size);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    if (spec->external) {
        memcpy(data_memory, image.data, image.data_size);
        fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data_memory, image.data_size,
                                  CAPACITY);
    }
    f.options.writable = true;
    model = calloc(1, image.spec.size);
    memcpy(model, image.model.bytes, image.spec.size);
    if (!T_CHECK_STR(q2_status_name(fixture_open(&f)), "Q2_OK"))
        printf("# %s\n", fixture_text(&f));
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* One random request; bytes that are written name it. */
static enum q2_status request(uint64_t *seed, uint64_t number)
{
    static uint8_t bytes[40000];
    uint64_t size = image.spec.size, offset = next(seed) % size;
    size_t length = (size_t)(1 + next(seed) % (next(seed) % 4 == 0 ? sizeof(bytes) : 1500));
    uint64_t kind = next(seed) % 8;

    if (next(seed) % 3 == 0)
        offset &= ~511ull;
    if (length > size - offset)
        length = (size_t)(size - offset);
    memset(bytes, kind == 0 ? 0 : (int)(1 + number % 255), length);
    memcpy(model + offset, bytes, length);
    if (kind == 0)
        return q2_disk_write_zeroes(f.disk, offset, length);
    return q2_disk_write(f.disk, offset, bytes, length);
}

static void test_encrypted_write_every_method_is_the_model(void)
{
    static const struct {
        const char *row;
        uint32_t method;
        struct image_spec spec;
    } rows[] = {
        {"AES", 1, {.size = MIB}},
        {"LUKS", 2, {.size = MIB}},
        {"AES, 512 byte clusters", 1, {.size = 60 * 512, .cluster_bits = 9}},
        {"LUKS, 4 KiB clusters", 2, {.size = 64 * 4096, .cluster_bits = 12}},
        {"AES, version 2", 1, {.size = 64 * 4096, .cluster_bits = 12, .version = 2}},
        {"LUKS, data file", 2, {.size = MIB, .external = true}},
        {"LUKS, extended L2", 2, {.size = MIB, .cluster_bits = 14, .extended = true}},
        {"LUKS, clusters larger than the bounce buffer",
         2,
         {.size = 3 * MIB, .cluster_bits = 19, .max_clusters = 64}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image_spec spec = rows[i].spec;
        uint64_t seed = i + 1;

        t_row(rows[i].row);
        setup_writable(&spec, rows[i].method);
        for (uint64_t n = 0; n < 120 && f.disk; n++)
            T_CHECK_U64(request(&seed, n), Q2_OK);
        if (f.disk)
            T_CHECK_U64(fixture_first_difference(&f, model, spec.size), FIXTURE_SAME);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        T_CHECK(!cipher.misused);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        if (f.disk)
            T_CHECK_U64(fixture_first_difference(&f, model, spec.size), FIXTURE_SAME);
        free(model);
        cleanup();
    }
}

/* Not one sector of plaintext reaches a file. */
static void test_encrypted_write_leaves_no_plaintext(void)
{
    static uint8_t bytes[200000];

    setup_writable(&(struct image_spec){.size = MIB}, 2);
    memset(bytes, 'p', sizeof(bytes));
    T_CHECK_U64(q2_disk_write(f.disk, 300, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 300, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(q2_disk_write(f.disk, 600 * KIB, bytes, 65536), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    for (uint64_t at = 0; at < f.image.source.size; at += 512)
        T_CHECK(memcmp(memory + at, bytes, 512) != 0);
    T_CHECK_U64(q2_disk_write_compressed(f.disk, 0, bytes, 100), Q2_ERR_UNSUPPORTED);
    free(model);
    cleanup();
}

int main(void)
{
    T_RUN(test_encrypted_read_every_method_is_the_model);
    T_RUN(test_encrypted_read_every_small_range);
    T_RUN(test_encrypted_read_file_ends_inside_the_sector);
    T_RUN(test_encrypted_read_source_fails);
    T_RUN(test_encrypted_read_small_requests_in_a_row_are_fetched_ahead);
    T_RUN(test_encrypted_read_compressed_cluster_is_plain);
    memory = malloc(CAPACITY);
    data_memory = malloc(CAPACITY);
    T_RUN(test_encrypted_write_every_method_is_the_model);
    T_RUN(test_encrypted_write_leaves_no_plaintext);
    free(memory);
    free(data_memory);
    return t_done();
}
