/* drivers/crypto/unlocker.c: passphrases, prompts, slots, room, and that no key stays after. */
#include "drivers/crypto/unlocker.h"

#include "drivers/memory/source.h"
#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

/* The LUKS header is somewhere inside the file. */
#define HEADER_OFFSET 3u * 512

static uint8_t file[HEADER_OFFSET + LUKS_BUILD_LENGTH];
static struct q2_source_memory source;
static struct q2_unlocker_passphrase memory;
static struct q2_unlocker *unlocker;
static uint8_t master[Q2_AES_MAX_KEY_LENGTH];

/* A file with "first" in slot 0 and "last" in slot 7, an unlocker, no passphrase. */
static void set_up(void)
{
    uint8_t *image = file + HEADER_OFFSET;
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)image;

    for (size_t i = 0; i < sizeof(master); i++)
        master[i] = (uint8_t)(0x41 + i * 5);
    memset(file, 0, sizeof(file));
    luks_build_header(disk);
    luks_build_digest(disk, master, 3);
    luks_build_slot(image, 0, master, "first", 3, 9);
    luks_build_slot(image, 7, master, "last", 2, 4000);
    q2_source_memory_init(&source, file, sizeof(file), sizeof(file), false, "a.qcow2");
    unlocker = q2_unlocker_passphrase_init(&memory);
}

static void know(const char *passphrase)
{
    memory.passphrase = (const uint8_t *)passphrase;
    memory.passphrase_length = strlen(passphrase);
}

static enum q2_status unlock(struct q2_cipher **ret_cipher)
{
    return unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_LUKS, HEADER_OFFSET,
                                 LUKS_BUILD_LENGTH, ret_cipher);
}

static bool find_bytes(const void *where, size_t size, const void *what, size_t length)
{
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp((const uint8_t *)where + i, what, length) == 0)
            return true;
    return false;
}

/* Does cipher decrypt what one made of the master key has encrypted? */
static bool has_master_key(struct q2_cipher *cipher)
{
    static struct q2_cipher_aes reference;
    uint8_t buffer[1024], plain[1024];

    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = buffer[i] = (uint8_t)(i * 11);
    (void)q2_cipher_aes_init(&reference, Q2_AES_XTS_PLAIN64, master, 64);
    reference.cipher.ops->encrypt(&reference.cipher, 77, buffer, sizeof(buffer));
    cipher->ops->decrypt(cipher, 77, buffer, sizeof(buffer));
    return memcmp(buffer, plain, sizeof(plain)) == 0;
}

static void test_unlock_luks_any_slot_fits(void)
{
    static const char *const passphrases[] = {"first", "last"};

    for (size_t i = 0; i < 2; i++) {
        struct q2_cipher *cipher = NULL;

        t_row(passphrases[i]);
        set_up();
        know(passphrases[i]);
        T_CHECK_U64(unlock(&cipher), Q2_OK);
        if (T_CHECK(cipher != NULL))
            T_CHECK(has_master_key(cipher));
        T_CHECK(unlocker->what == NULL);
        unlocker->ops->lock(unlocker, cipher);
    }
}

static void test_unlock_luks_inactive_slot_does_not_fit(void)
{
    struct q2_cipher *cipher = NULL;
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)(file + HEADER_OFFSET);

    set_up();
    luks_put_be32(disk->slots[7].active, Q2_LUKS_SLOT_INACTIVE);
    know("last");
    T_CHECK_U64(unlock(&cipher), Q2_ERR_ENCRYPTED);
    luks_put_be32(disk->slots[0].active, Q2_LUKS_SLOT_INACTIVE);
    know("first");
    T_CHECK_U64(unlock(&cipher), Q2_ERR_ENCRYPTED);
    T_CHECK(cipher == NULL);
}

static void test_unlock_luks_wrong_passphrase_is_refused(void)
{
    static const char *const wrong[] = {"", "firs", "first\n", "First", "firstlast"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct q2_cipher *cipher = NULL;

        t_row(wrong[i]);
        set_up();
        know(wrong[i]);
        T_CHECK_U64(unlock(&cipher), Q2_ERR_ENCRYPTED);
        T_CHECK_STR(unlocker->what, "the passphrase fits no key slot");
        T_CHECK(cipher == NULL);
    }
}

static void test_unlock_without_passphrase_is_refused(void)
{
    struct q2_cipher *cipher = NULL;

    set_up();
    T_CHECK_U64(unlock(&cipher), Q2_ERR_ENCRYPTED);
    T_CHECK_STR(unlocker->what, "no passphrase was given");
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_AES, 0, 0, &cipher),
                Q2_ERR_ENCRYPTED);
    T_CHECK_STR(unlocker->what, "no passphrase was given");
    T_CHECK(cipher == NULL);
}

/* A person with a list of answers; NULL is giving up. */
struct person {
    const char *const *answers;
    uint32_t nb_asked;
    uint32_t last_nb_failed;
    char path[32];
};

static bool ask_person(struct q2_unlocker_passphrase *asker, const char *path, uint32_t nb_failed)
{
    struct person *person = asker->ask_context;
    const char *answer = person->answers[person->nb_asked++];

    (void)snprintf(person->path, sizeof(person->path), "%s", path);
    person->last_nb_failed = nb_failed;
    if (answer)
        know(answer);
    return answer != NULL;
}

static void test_unlock_asks_until_it_fits(void)
{
    static const struct row {
        const char *name, *known;
        const char *answers[5];
        enum q2_status status;
        uint32_t nb_asked, last_nb_failed;
    } rows[] = {
        {"known, nobody is asked", "last", {NULL}, Q2_OK, 0, 0},
        {"first answer", NULL, {"last"}, Q2_OK, 1, 0},
        {"third answer", NULL, {"a", "b", "first"}, Q2_OK, 3, 2},
        {"three wrong", NULL, {"a", "b", "c", "first"}, Q2_ERR_ENCRYPTED, 3, 2},
        {"known is wrong", "a", {"first"}, Q2_OK, 1, 1},
        {"known is wrong, and three more", "a", {"b", "c", "d", "first"}, Q2_ERR_ENCRYPTED, 3, 3},
        {"gives up at once", NULL, {NULL, "first"}, Q2_ERR_ENCRYPTED, 1, 0},
        {"gives up later", NULL, {"a", NULL, "first"}, Q2_ERR_ENCRYPTED, 2, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct person person = {.answers = rows[i].answers};
        struct q2_cipher *cipher = NULL;

        t_row(rows[i].name);
        set_up();
        memory.ask = ask_person;
        memory.ask_context = &person;
        if (rows[i].known)
            know(rows[i].known);
        T_CHECK_U64(unlock(&cipher), rows[i].status);
        T_CHECK_U64(person.nb_asked, rows[i].nb_asked);
        T_CHECK_U64(person.last_nb_failed, rows[i].last_nb_failed);
        T_CHECK_STR(person.path, rows[i].nb_asked > 0 ? "a.qcow2" : "");
        T_CHECK((cipher != NULL) == (rows[i].status == Q2_OK));
    }
}

/* What was typed for one image is tried with the next before anybody is asked again. */
static void test_unlock_answer_serves_the_next_image(void)
{
    static const char *const answers[] = {"last", NULL};
    struct person person = {.answers = answers};
    struct q2_cipher *first = NULL, *second = NULL;

    set_up();
    memory.ask = ask_person;
    memory.ask_context = &person;
    T_CHECK_U64(unlock(&first), Q2_OK);
    T_CHECK_U64(unlock(&second), Q2_OK);
    T_CHECK(first != second);
    T_CHECK_U64(person.nb_asked, 1);
}

/* Has a passphrase for two images, one after the other. */
static bool choose_in_order(struct q2_unlocker_passphrase *chooser, const char *path)
{
    static const char *const passphrases[] = {"last", "first"};
    uint32_t *nb_chosen = chooser->ask_context;

    T_CHECK_STR(path, "a.qcow2");
    if (*nb_chosen == 2)
        return false;
    know(passphrases[(*nb_chosen)++]);
    return true;
}

static void test_unlock_chooses_a_passphrase_for_each_image(void)
{
    struct q2_cipher *cipher[3] = {NULL};
    uint32_t nb_chosen = 0;

    set_up();
    know("wrong");
    memory.choose = choose_in_order;
    memory.ask_context = &nb_chosen;
    for (size_t i = 0; i < 2; i++) {
        T_CHECK_U64(unlock(&cipher[i]), Q2_OK);
        T_CHECK_U64(nb_chosen, i + 1);
    }
    T_CHECK_U64(unlock(&cipher[2]), Q2_ERR_ENCRYPTED);
    T_CHECK_STR(unlocker->what, "no passphrase was given");
    T_CHECK(cipher[2] == NULL);
}

static bool ask_says_yes_only(struct q2_unlocker_passphrase *asker, const char *path,
                              uint32_t nb_failed)
{
    (void)asker;
    (void)path;
    (void)nb_failed;
    return true;
}

static void test_unlock_ask_without_passphrase_is_refused(void)
{
    struct q2_cipher *cipher = NULL;

    set_up();
    memory.ask = ask_says_yes_only;
    T_CHECK_U64(unlock(&cipher), Q2_ERR_ENCRYPTED);
    T_CHECK_STR(unlocker->what, "no passphrase was given");
}

static void test_unlock_bad_header_is_refused_before_anybody_is_asked(void)
{
    static const char *const answers[] = {"first"};
    struct person person = {.answers = answers};
    struct q2_cipher *cipher = NULL;

    set_up();
    file[HEADER_OFFSET] = 'X';
    memory.ask = ask_person;
    memory.ask_context = &person;
    T_CHECK_U64(unlock(&cipher), Q2_ERR_BAD_HEADER);
    T_CHECK_STR(unlocker->what, "the LUKS header has no magic");
    T_CHECK_U64(person.nb_asked, 0);
    T_CHECK_U64(
        unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_LUKS, HEADER_OFFSET, 591, &cipher),
        Q2_ERR_BAD_HEADER);
    T_CHECK_STR(unlocker->what, "the room for the LUKS header is too small");
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, 3, 0, 0, &cipher),
                Q2_ERR_UNSUPPORTED);
    T_CHECK(unlocker->what == NULL);
}

static enum q2_status fail_read(struct q2_source *failing, uint64_t offset, void *buffer,
                                size_t length)
{
    if (offset + length > failing->size)
        return Q2_ERR_IO;
    memcpy(buffer, file + offset, length);
    return Q2_OK;
}

static void test_unlock_source_failure_is_passed_on(void)
{
    static const struct q2_source_ops ops = {.read_at = fail_read};
    /* The header fails, or the key material of slot 0 does. */
    static const uint64_t sizes[] = {HEADER_OFFSET + 100, HEADER_OFFSET + 4096};

    for (size_t i = 0; i < 2; i++) {
        struct q2_source failing = {.ops = &ops, .path = "a.qcow2", .size = sizes[i]};
        struct q2_cipher *cipher = NULL;

        set_up();
        know("last");
        T_CHECK_U64(unlocker->ops->unlock(unlocker, &failing, Q2_CRYPT_LUKS, HEADER_OFFSET,
                                          LUKS_BUILD_LENGTH, &cipher),
                    Q2_ERR_IO);
        T_CHECK(cipher == NULL);
    }
}

/* What trying() was told: '(' when it begins, ')' when it ends. */
static char told[16];

static void note_trying(struct q2_unlocker_passphrase *teller, const char *path, bool begins)
{
    T_CHECK(teller == &memory);
    T_CHECK_STR(path, "a.qcow2");
    if (T_CHECK(strlen(told) + 1 < sizeof(told)))
        told[strlen(told)] = begins ? '(' : ')';
}

static void test_unlock_tells_when_a_passphrase_is_tried(void)
{
    static const struct {
        const char *passphrase;
        uint64_t length; /* of the source */
        const char *told;
    } rows[] = {
        {"last", sizeof(file), "()"},
        {"wrong", sizeof(file), "()"},
        {"last", HEADER_OFFSET + 4096, "()"},
        {"last", HEADER_OFFSET, ""},
        {NULL, sizeof(file), ""},
    };
    static const struct q2_source_ops ops = {.read_at = fail_read};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_source cut = {.ops = &ops, .path = "a.qcow2", .size = rows[i].length};
        struct q2_cipher *cipher = NULL;

        t_row(rows[i].passphrase ? rows[i].passphrase : "none");
        set_up();
        memset(told, 0, sizeof(told));
        memory.trying = note_trying;
        if (rows[i].passphrase)
            know(rows[i].passphrase);
        (void)unlocker->ops->unlock(unlocker, &cut, Q2_CRYPT_LUKS, HEADER_OFFSET, LUKS_BUILD_LENGTH,
                                    &cipher);
        T_CHECK_STR(told, rows[i].told);
    }
}

/* (qcow2: crypt_method 1) The passphrase itself is the AES-128 key, cut or padded with zeros. The
 * expected bytes are from `openssl enc -aes-128-cbc -nopad -K KEY -iv IV`, sector 0x0102030405. */
static void test_unlock_legacy_uses_the_passphrase_as_key(void)
{
    static const struct row {
        const char *passphrase;
        uint8_t cipher[16];
    } rows[] = {
        {"short",
         {0xca, 0xc6, 0xcb, 0x8f, 0xe1, 0xde, 0xe9, 0xc0, 0xf7, 0xf7, 0x1e, 0x5f, 0x7c, 0xed, 0x07,
          0xa5}},
        {"exactly16bytes!!",
         {0xb5, 0x26, 0xf9, 0xce, 0x45, 0x67, 0xc7, 0x12, 0xbc, 0x26, 0x57, 0x5f, 0x0b, 0xde, 0x4e,
          0x06}},
        {"longer than sixteen bytes",
         {0x7d, 0xd0, 0xe9, 0xd7, 0x04, 0x0c, 0x9c, 0xcb, 0x39, 0x19, 0x4c, 0x1b, 0x46, 0xa9, 0x1d,
          0x21}},
        {"",
         {0x75, 0x21, 0xfa, 0x1c, 0x7c, 0xdc, 0x7f, 0x00, 0xce, 0xc0, 0xa8, 0x41, 0x55, 0xe7, 0x23,
          0xb7}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_cipher *cipher = NULL;
        uint8_t buffer[16];

        t_row(rows[i].passphrase);
        set_up();
        know(rows[i].passphrase);
        T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_AES, 0, 0, &cipher),
                    Q2_OK);
        if (!T_CHECK(cipher != NULL))
            continue;
        memcpy(buffer, "sixteen bytes...", 16);
        cipher->ops->encrypt(cipher, 0x0102030405, buffer, sizeof(buffer));
        T_CHECK(memcmp(buffer, rows[i].cipher, sizeof(buffer)) == 0);
        cipher->ops->decrypt(cipher, 0x0102030405, buffer, sizeof(buffer));
        T_CHECK(memcmp(buffer, "sixteen bytes...", 16) == 0);
    }
}

static void test_unlock_has_room_for_every_layer(void)
{
    struct q2_cipher *ciphers[Q2_MAX_LAYERS], *more = NULL;

    set_up();
    know("first");
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++)
        T_CHECK_U64(unlock(&ciphers[i]), Q2_OK);
    T_CHECK_U64(unlock(&more), Q2_ERR_LIMIT);
    T_CHECK_STR(unlocker->what, "too many encrypted images");
    T_CHECK(more == NULL);
    unlocker->ops->lock(unlocker, ciphers[9]);
    T_CHECK_U64(unlock(&more), Q2_OK);
    T_CHECK(more == ciphers[9]);
    T_CHECK(has_master_key(more) && has_master_key(ciphers[31]));
}

/* While a disk is open its memory has the expanded key and nothing else; afterwards nothing. */
/* Outside the ciphers, where an expanded key may begin with the raw one. */
static void check_no_raw_key(void)
{
    const uint8_t *after = (const uint8_t *)(&memory.ciphers + 1);
    size_t before = offsetof(struct q2_unlocker_passphrase, ciphers);

    for (size_t i = 0; i < 64; i += 32) {
        T_CHECK(!find_bytes(&memory, before, master + i, 16));
        T_CHECK(
            !find_bytes(after, sizeof(memory) - before - sizeof(memory.ciphers), master + i, 16));
    }
}

static void test_unlock_and_lock_leave_no_key_behind(void)
{
    static const char *const passphrases[] = {"first", "last", "wrong"};
    static const struct q2_luks_work no_work;
    static const struct q2_cipher_aes no_cipher;

    for (size_t i = 0; i < 3; i++) {
        struct q2_cipher *cipher = NULL;

        t_row(passphrases[i]);
        set_up();
        know(passphrases[i]);
        T_CHECK_U64(unlock(&cipher), i < 2 ? Q2_OK : Q2_ERR_ENCRYPTED);
        T_CHECK(memcmp(&memory.work, &no_work, sizeof(no_work)) == 0);
        check_no_raw_key();
        if (cipher)
            unlocker->ops->lock(unlocker, cipher);
        for (size_t j = 0; j < Q2_MAX_LAYERS; j++)
            T_CHECK(memcmp(&memory.ciphers[j], &no_cipher, sizeof(no_cipher)) == 0);
    }
}

static void test_unlock_keeps_raw_keys_if_asked_to(void)
{
    static const struct q2_kept_key none;
    struct q2_cipher *first = NULL, *second = NULL, *third = NULL;

    set_up();
    memory.keep_keys = true;
    know("last");
    T_CHECK_U64(unlock(&first), Q2_OK);
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_AES, 0, 0, &second),
                Q2_OK);
    know("wrong");
    T_CHECK_U64(unlock(&third), Q2_ERR_ENCRYPTED);
    T_CHECK(memory.kept[0].image == &source.source);
    T_CHECK_U64(memory.kept[0].crypt_method, Q2_CRYPT_LUKS);
    T_CHECK_U64(memory.kept[0].length, 64);
    T_CHECK(memcmp(memory.kept[0].bytes, master, 64) == 0);
    T_CHECK_U64(memory.kept[1].crypt_method, Q2_CRYPT_AES);
    T_CHECK_U64(memory.kept[1].length, 16);
    T_CHECK(memcmp(memory.kept[1].bytes, "last\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
    T_CHECK(memcmp(&memory.kept[2], &none, sizeof(none)) == 0);
    unlocker->ops->lock(unlocker, first);
    T_CHECK(memcmp(&memory.kept[0], &none, sizeof(none)) == 0);
    T_CHECK_U64(memory.kept[1].length, 16);
    unlocker->ops->lock(unlocker, second);
    T_CHECK(!find_bytes(&memory, sizeof(memory), master, 16));
    T_CHECK(memcmp(&memory.kept[1], &none, sizeof(none)) == 0);
}

/* A disk is opened twice: the second time no passphrase is needed, for every one of its images. */
static void test_unlock_again_needs_no_passphrase_while_it_remembers(void)
{
    static const struct q2_kept_key none;
    struct q2_cipher *first = NULL, *second = NULL;

    set_up();
    memory.remembers = true;
    know("last");
    T_CHECK_U64(unlock(&first), Q2_OK);
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_AES, 0, 0, &second),
                Q2_OK);
    unlocker->ops->lock(unlocker, second);
    unlocker->ops->lock(unlocker, first);
    memory.passphrase = NULL;
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &source.source, Q2_CRYPT_AES, 0, 0, &second),
                Q2_OK);
    T_CHECK_U64(unlock(&first), Q2_OK);
    T_CHECK(first != second);
    unlocker->ops->lock(unlocker, first);
    source.source.identity[0]++; /* another file */
    T_CHECK_U64(unlock(&first), Q2_ERR_ENCRYPTED);
    source.source.identity[0]--;
    T_CHECK_U64(unlock(&first), Q2_OK);
    q2_unlocker_passphrase_forget(&memory);
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++)
        T_CHECK(memcmp(&memory.kept[i], &none, sizeof(none)) == 0);
    unlocker->ops->lock(unlocker, first);
    T_CHECK_U64(unlock(&first), Q2_ERR_ENCRYPTED);
    unlocker->ops->lock(unlocker, second);
    T_CHECK(!find_bytes(&memory, sizeof(memory), master, 16));
}

int main(void)
{
    T_RUN(test_unlock_luks_any_slot_fits);
    T_RUN(test_unlock_luks_inactive_slot_does_not_fit);
    T_RUN(test_unlock_luks_wrong_passphrase_is_refused);
    T_RUN(test_unlock_without_passphrase_is_refused);
    T_RUN(test_unlock_asks_until_it_fits);
    T_RUN(test_unlock_answer_serves_the_next_image);
    T_RUN(test_unlock_chooses_a_passphrase_for_each_image);
    T_RUN(test_unlock_ask_without_passphrase_is_refused);
    T_RUN(test_unlock_bad_header_is_refused_before_anybody_is_asked);
    T_RUN(test_unlock_source_failure_is_passed_on);
    T_RUN(test_unlock_tells_when_a_passphrase_is_tried);
    T_RUN(test_unlock_legacy_uses_the_passphrase_as_key);
    T_RUN(test_unlock_has_room_for_every_layer);
    T_RUN(test_unlock_and_lock_leave_no_key_behind);
    T_RUN(test_unlock_keeps_raw_keys_if_asked_to);
    T_RUN(test_unlock_again_needs_no_passphrase_while_it_remembers);
    return t_done();
}
