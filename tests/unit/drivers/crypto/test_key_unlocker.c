/* drivers/crypto/key_unlocker.c: the right key, wrong ones, none, and that no key stays after. */
#include "drivers/crypto/key_unlocker.h"

#include "drivers/memory/source.h"
#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

#define HEADER_OFFSET 3u * 512

static uint8_t file[HEADER_OFFSET + LUKS_BUILD_LENGTH];
static struct q2_source_memory source;
static struct q2_unlocker_key memory;
static struct q2_unlocker *unlocker;
static uint8_t master[Q2_AES_MAX_KEY_LENGTH];
static struct q2_image_key keys[2];

/* A LUKS image a.qcow2 and its key after another image's. */
static void set_up(void)
{
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)(file + HEADER_OFFSET);

    for (size_t i = 0; i < sizeof(master); i++)
        master[i] = (uint8_t)(0x41 + i * 5);
    memset(file, 0, sizeof(file));
    luks_build_header(disk);
    luks_build_digest(disk, master, 3);
    q2_source_memory_init(&source, file, sizeof(file), sizeof(file), false, "a.qcow2");
    keys[0] = (struct q2_image_key){"b.qcow2", Q2_CRYPT_AES, 16, master};
    keys[1] = (struct q2_image_key){"a.qcow2", Q2_CRYPT_LUKS, 64, master};
    unlocker = q2_unlocker_key_init(&memory, keys, 2);
}

static enum q2_status unlock(uint32_t method, uint64_t length, struct q2_cipher **ret_cipher)
{
    return unlocker->ops->unlock(unlocker, &source.source, method, HEADER_OFFSET, length,
                                 ret_cipher);
}

/* Does the cipher undo what one made of the master key did? */
static bool is_right(struct q2_cipher *cipher, enum q2_aes_mode mode, size_t key_length)
{
    static struct q2_cipher_aes reference;
    uint8_t buffer[1024], plain[1024];

    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 3);
    memcpy(buffer, plain, sizeof(buffer));
    (void)q2_cipher_aes_init(&reference, mode, master, (uint32_t)key_length);
    reference.cipher.ops->encrypt(&reference.cipher, 7, buffer, sizeof(buffer));
    cipher->ops->decrypt(cipher, 7, buffer, sizeof(buffer));
    return memcmp(buffer, plain, sizeof(plain)) == 0;
}

static void test_key_unlocker_right_key_decrypts_and_is_wiped(void)
{
    struct q2_cipher *cipher = NULL;

    set_up();
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_OK);
    T_CHECK(cipher && is_right(cipher, Q2_AES_XTS_PLAIN64, 64));
    unlocker->ops->lock(unlocker, cipher);
    for (size_t i = 0; i < sizeof(memory.ciphers); i++)
        T_CHECK(((const uint8_t *)memory.ciphers)[i] == 0);
}

static void test_key_unlocker_legacy_key_decrypts(void)
{
    struct q2_cipher *cipher = NULL;

    set_up();
    keys[0].path = "a.qcow2";
    T_CHECK_U64(unlock(Q2_CRYPT_AES, 0, &cipher), Q2_OK);
    T_CHECK(cipher && is_right(cipher, Q2_AES_CBC_PLAIN64, 16));
}

static void test_key_unlocker_wrong_keys_are_refused(void)
{
    struct q2_cipher *cipher = NULL;
    uint8_t wrong[Q2_AES_MAX_KEY_LENGTH];

    set_up();
    memcpy(wrong, master, sizeof(wrong));
    wrong[5] ^= 1;
    keys[1].bytes = wrong;
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_ERR_ENCRYPTED);
    T_CHECK(unlocker->what != NULL);
    keys[1].bytes = master;
    keys[1].length = 32;
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_ERR_ENCRYPTED);
    keys[1].length = 64;
    T_CHECK_U64(unlock(Q2_CRYPT_AES, 0, &cipher), Q2_ERR_ENCRYPTED); /* another image's */
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, 100, &cipher), Q2_ERR_BAD_HEADER);
    file[HEADER_OFFSET] ^= 1;
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_ERR_BAD_HEADER);
    T_CHECK(cipher == NULL);
}

static void test_key_unlocker_gives_as_many_as_there_are_layers(void)
{
    struct q2_cipher *cipher = NULL;

    set_up();
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++)
        T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_OK);
    T_CHECK_U64(unlock(Q2_CRYPT_LUKS, LUKS_BUILD_LENGTH, &cipher), Q2_ERR_LIMIT);
}

int main(void)
{
    T_RUN(test_key_unlocker_right_key_decrypts_and_is_wiped);
    T_RUN(test_key_unlocker_legacy_key_decrypts);
    T_RUN(test_key_unlocker_wrong_keys_are_refused);
    T_RUN(test_key_unlocker_gives_as_many_as_there_are_layers);
    return t_done();
}
