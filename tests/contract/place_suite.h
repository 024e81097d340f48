/* The contract of include/q2_place.h as tests, run against every place.
 *
 * A fixture makes a place that holds the files below; the suite opens, reads, writes and grows them
 * and asks for everything that the place says it can do. What a place cannot do must be refused, or
 * its function must be NULL, as the contract says.
 */
#ifndef METALCOW_TESTS_PLACE_SUITE_H
#define METALCOW_TESTS_PLACE_SUITE_H

#include <stdlib.h>

#include "q2_place.h"
#include "tests/support/t.h"

#define PLACE_IMAGE      "/img/disk.qcow2" /* PLACE_IMAGE_SIZE bytes of place_pattern() */
#define PLACE_IMAGE_SIZE (300u * 1024 + 77)
#define PLACE_TEXT       "/metalcow/entries/one.conf"
#define PLACE_TEXT_BYTES "image /img/disk.qcow2\n"
#define PLACE_TEXT_2     "/metalcow/entries/two.conf" /* has the same bytes */

struct place_fixture {
    const char *name;
    struct q2_place *(*open)(void);
    void (*close)(void); /* after the place was closed: the fixture checks that nothing is left */
    /* Change PLACE_IMAGE after the place's back, as another program does. NULL: cannot be done. */
    void (*replace_image)(void);
    uint64_t free_space; /* bytes by which files can grow in all; at least 1 MiB */
};

static const struct place_fixture *place_fixture;
static struct q2_place *place;
static struct q2_fault place_fault;

static inline uint8_t place_pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 9) + 3);
}

static inline struct q2_place_file *place_file(const char *path, bool writable)
{
    struct q2_place_file *file = NULL;
    enum q2_status status = place->ops->open_file(place, path, writable, &place_fault, &file);

    if (!T_CHECK_U64(status, Q2_OK))
        exit(1);
    T_CHECK(file->place == place);
    T_CHECK(file->source && file->source->writable == writable);
    T_CHECK(file->mapped_size >= file->source->size);
    return file;
}

static inline void place_check_pattern(struct q2_source *source)
{
    uint8_t *bytes = malloc(PLACE_IMAGE_SIZE);
    uint64_t wrong = PLACE_IMAGE_SIZE;

    T_CHECK_U64(source->ops->read_at(source, 0, bytes, PLACE_IMAGE_SIZE), Q2_OK);
    for (uint64_t i = PLACE_IMAGE_SIZE; i-- > 0;)
        wrong = bytes[i] != place_pattern(i) ? i : wrong;
    T_CHECK_U64(wrong, PLACE_IMAGE_SIZE);
    free(bytes);
}

static void test_open_file_gives_its_bytes_and_says_how_it_is_read(void)
{
    struct q2_place_file *file = place_file(PLACE_IMAGE, false);
    char text[200];
    struct q2_line line = q2_line_start(text, sizeof(text));

    T_CHECK_U64(file->source->size, PLACE_IMAGE_SIZE);
    T_CHECK_STR(file->source->path, PLACE_IMAGE);
    place_check_pattern(file->source);
    place->ops->explain(file, &line);
    T_CHECK(line.length > 0 && line.length < sizeof(text));
    place->ops->close_file(file);
    T_CHECK(place->name && place->name[0] != '\0');
}

static void test_open_file_of_what_cannot_be_opened_is_refused_and_explained(void)
{
    static const struct {
        const char *path;
        enum q2_status status, or_status;
    } rows[] = {
        {"/img/none.qcow2", Q2_ERR_NOT_FOUND, Q2_ERR_NOT_FOUND},
        {"/none/disk.qcow2", Q2_ERR_NOT_FOUND, Q2_ERR_NOT_FOUND},
        {"/img", Q2_ERR_NOT_A_FILE, Q2_ERR_NOT_A_FILE},
        {"/img/../../disk.qcow2", Q2_ERR_BAD_NAME, Q2_ERR_NOT_FOUND},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_place_file *file = NULL;
        enum q2_status status;
        t_row(rows[i].path);
        place_fault = (struct q2_fault){.status = Q2_OK};
        status = place->ops->open_file(place, rows[i].path, false, &place_fault, &file);
        T_CHECK(status == rows[i].status || status == rows[i].or_status);
        T_CHECK_U64(place_fault.status, status);
        T_CHECK(file == NULL);
        T_CHECK(place_fault.file[0] != '\0');
    }
    t_row("");
}

static void test_identity_is_the_files_however_it_is_named(void)
{
    struct q2_place_file *a = place_file(PLACE_IMAGE, false);
    struct q2_place_file *b = place_file("/img/./disk.qcow2", false);
    struct q2_place_file *c = place_file(PLACE_TEXT, false);

    T_CHECK(memcmp(a->source->identity, b->source->identity, sizeof(a->source->identity)) == 0);
    T_CHECK(memcmp(a->source->identity, c->source->identity, sizeof(a->source->identity)) != 0);
    place->ops->close_file(a);
    place->ops->close_file(c);
    place->ops->close_file(b);
}

static void test_load_reads_small_files_and_cuts_large_ones(void)
{
    char buffer[64];
    size_t length = sizeof(buffer);

    T_CHECK_U64(place->ops->load(place, PLACE_TEXT, buffer, &length, &place_fault), Q2_OK);
    T_CHECK_U64(length, sizeof(PLACE_TEXT_BYTES) - 1);
    T_CHECK(memcmp(buffer, PLACE_TEXT_BYTES, length) == 0);
    length = 5;
    T_CHECK_U64(place->ops->load(place, PLACE_TEXT, buffer, &length, &place_fault), Q2_OK);
    T_CHECK_U64(length, 5);
    length = sizeof(buffer);
    T_CHECK_U64(place->ops->load(place, "/metalcow/none", buffer, &length, &place_fault),
                Q2_ERR_NOT_FOUND);
    T_CHECK_U64(place_fault.status, Q2_ERR_NOT_FOUND);
    T_CHECK_U64(place->ops->load(place, "/img", buffer, &length, &place_fault), Q2_ERR_NOT_A_FILE);
}

struct place_names {
    struct q2_place_visitor visitor; /* first */
    unsigned int nb_one, nb_two, nb_others;
    enum q2_status answer;
};

static enum q2_status place_visit(struct q2_place_visitor *visitor, const char *name,
                                  struct q2_fault *fault)
{
    struct place_names *names = (struct place_names *)visitor;

    names->nb_one += strcmp(name, "one.conf") == 0;
    names->nb_two += strcmp(name, "two.conf") == 0;
    names->nb_others += strcmp(name, "one.conf") != 0 && strcmp(name, "two.conf") != 0;
    fault->status = names->answer;
    return names->answer;
}

static void test_list_names_each_file_once_and_ends_when_told(void)
{
    struct place_names names = {.visitor = {.visit = place_visit}, .answer = Q2_OK};

    T_CHECK_U64(place->ops->list(place, "/metalcow/entries", &names.visitor, &place_fault), Q2_OK);
    T_CHECK_U64(names.nb_one, 1);
    T_CHECK_U64(names.nb_two, 1);
    T_CHECK_U64(names.nb_others, 0);
    names.answer = Q2_ERR_LIMIT;
    T_CHECK_U64(place->ops->list(place, "/metalcow/entries", &names.visitor, &place_fault),
                Q2_ERR_LIMIT);
    T_CHECK_U64(names.nb_one + names.nb_two, 3);
    T_CHECK_U64(place->ops->list(place, "/metalcow/none", &names.visitor, &place_fault),
                Q2_ERR_NOT_FOUND);
}

/* The abilities say which functions there are. */
static void test_abilities_agree_with_functions(void)
{
    const struct q2_place_ops *ops = place->ops;
    bool writes = q2_place_can(place, Q2_PLACE_WRITES);

    T_CHECK((ops->locate != NULL) == q2_place_can(place, Q2_PLACE_LOCATES));
    T_CHECK((ops->check != NULL) == writes);
    T_CHECK((ops->settle != NULL) == writes);
    T_CHECK((ops->make_room != NULL) == q2_place_can(place, Q2_PLACE_GROWS));
    T_CHECK((ops->give_back != NULL) == q2_place_can(place, Q2_PLACE_GROWS));
    T_CHECK((ops->free_space != NULL) == q2_place_can(place, Q2_PLACE_GROWS));
    T_CHECK((ops->forget != NULL) == q2_place_can(place, Q2_PLACE_REMEMBERS));
    T_CHECK((ops->watch != NULL) == q2_place_can(place, Q2_PLACE_REMEMBERS));
    T_CHECK(writes || !q2_place_can(place, Q2_PLACE_GROWS));
}

static void test_locate_covers_the_file_inside_its_partition(void)
{
    struct q2_place_file *file = place_file(PLACE_IMAGE, false);
    struct q2_stored_file stored;
    uint64_t at = 0;

    if (q2_place_can(place, Q2_PLACE_LOCATES) &&
        T_CHECK_U64(place->ops->locate(file, &stored), Q2_OK)) {
        T_CHECK(stored.size >= file->source->size);
        for (size_t i = 0; i < stored.nb_extents; i++) {
            const struct q2_file_extent *extent = &stored.extents[i];
            T_CHECK_U64(extent->file_offset, at);
            T_CHECK(extent->volume_offset + extent->length <= stored.partition.size);
            at += extent->length;
        }
        T_CHECK_U64(at, stored.size);
        T_CHECK(stored.partition.block_size >= 512);
        T_CHECK((stored.partition.kind == Q2_PARTITION_NONE) == (stored.partition.number == 0));
    }
    place->ops->close_file(file);
}

static void test_write_reads_back_by_the_same_and_by_another_opening(void)
{
    struct q2_place_file *file, *other;
    uint8_t bytes[1000], back[1000];

    if (!q2_place_can(place, Q2_PLACE_WRITES)) {
        T_CHECK(place->ops->open_file(place, PLACE_IMAGE, true, &place_fault, &file) != Q2_OK);
        return;
    }
    memset(bytes, 0x5a, sizeof(bytes));
    file = place_file(PLACE_IMAGE, true);
    T_CHECK_U64(file->source->ops->write_at(file->source, 70001, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(file->source->ops->flush(file->source), Q2_OK);
    T_CHECK_U64(file->source->ops->read_at(file->source, 70001, back, sizeof(back)), Q2_OK);
    T_CHECK(memcmp(bytes, back, sizeof(back)) == 0);
    T_CHECK_U64(place->ops->check(file, &place_fault), Q2_OK);
    place->ops->settle(place);
    other = place_file(PLACE_IMAGE, false);
    T_CHECK_U64(other->source->ops->read_at(other->source, 70001, back, sizeof(back)), Q2_OK);
    T_CHECK(memcmp(bytes, back, sizeof(back)) == 0);
    T_CHECK(memcmp(file->source->identity, other->source->identity,
                   sizeof(file->source->identity)) == 0);
    place->ops->close_file(other);
    place->ops->close_file(file);
}

static void test_write_to_a_file_that_was_replaced_changes_nothing(void)
{
    struct q2_place_file *file;
    uint8_t bytes[512] = {1};

    if (!q2_place_can(place, Q2_PLACE_WRITES) || !place_fixture->replace_image)
        return;
    file = place_file(PLACE_IMAGE, true);
    T_CHECK_U64(file->source->ops->write_at(file->source, 0, bytes, sizeof(bytes)), Q2_OK);
    place->ops->settle(place);
    place_fixture->replace_image();
    T_CHECK_U64(file->source->ops->write_at(file->source, 0, bytes, sizeof(bytes)),
                Q2_ERR_MEDIA_CHANGED);
    T_CHECK(place->ops->check(file, &place_fault) != Q2_OK);
    T_CHECK(place_fault.status != Q2_OK);
    place->ops->close_file(file);
}

/* The engine grows into room, and only into room. */
static void test_make_room_is_zero_and_can_be_given_back(void)
{
    struct q2_place_file *file;
    struct q2_source *source;
    uint8_t byte = 0xff;
    uint64_t size = PLACE_IMAGE_SIZE + 200000;
    uint64_t space;

    if (!q2_place_can(place, Q2_PLACE_GROWS))
        return;
    file = place_file(PLACE_IMAGE, true);
    source = file->source;
    space = place->ops->free_space(file);
    T_CHECK_U64(source->ops->grow(source, size), Q2_ERR_NO_SPACE);
    T_CHECK_U64(place->ops->make_room(file, size, &place_fault), Q2_OK);
    T_CHECK(file->mapped_size >= size);
    T_CHECK_U64(place->ops->free_space(file), space - (file->mapped_size - PLACE_IMAGE_SIZE));
    T_CHECK_U64(source->size, PLACE_IMAGE_SIZE);
    T_CHECK_U64(source->ops->grow(source, PLACE_IMAGE_SIZE + 1000), Q2_OK);
    T_CHECK_U64(source->ops->read_at(source, PLACE_IMAGE_SIZE + 999, &byte, 1), Q2_OK);
    T_CHECK_U64(byte, 0);
    T_CHECK_U64(source->ops->write_at(source, PLACE_IMAGE_SIZE + 500, &byte, 1), Q2_OK);
    T_CHECK_U64(place->ops->check(file, &place_fault), Q2_OK);
    T_CHECK_U64(place->ops->give_back(file, source->size, &place_fault), Q2_OK);
    T_CHECK_U64(file->mapped_size, PLACE_IMAGE_SIZE + 1000);
    T_CHECK_U64(source->ops->grow(source, PLACE_IMAGE_SIZE + 1001), Q2_ERR_NO_SPACE);
    T_CHECK_U64(place->ops->check(file, &place_fault), Q2_OK);
    place->ops->close_file(file);
    file = place_file(PLACE_IMAGE, false);
    T_CHECK_U64(file->source->size, PLACE_IMAGE_SIZE + 1000);
    place_check_pattern(file->source);
    place->ops->close_file(file);
}

static void test_make_room_beyond_the_space_takes_what_there_is(void)
{
    struct q2_place_file *file;
    uint64_t size = PLACE_IMAGE_SIZE + place_fixture->free_space + (1u << 20);

    if (!q2_place_can(place, Q2_PLACE_GROWS))
        return;
    file = place_file(PLACE_IMAGE, true);
    T_CHECK_U64(place->ops->make_room(file, size, &place_fault), Q2_ERR_NO_SPACE);
    T_CHECK_U64(place_fault.status, Q2_ERR_NO_SPACE);
    T_CHECK(file->mapped_size >= PLACE_IMAGE_SIZE && file->mapped_size < size);
    place_check_pattern(file->source);
    T_CHECK_U64(place->ops->give_back(file, file->source->size, &place_fault), Q2_OK);
    place->ops->close_file(file);
}

/* A power cut has left room: it is inside the file now. */
static void test_give_back_cuts_bytes_that_are_used_no_more(void)
{
    struct q2_place_file *file;
    uint8_t byte;

    if (!q2_place_can(place, Q2_PLACE_GROWS))
        return;
    file = place_file(PLACE_IMAGE, true);
    T_CHECK_U64(place->ops->make_room(file, PLACE_IMAGE_SIZE + 200000, &place_fault), Q2_OK);
    place->ops->close_file(file);
    file = place_file(PLACE_IMAGE, true);
    T_CHECK_U64(file->source->size, PLACE_IMAGE_SIZE + 200000);
    T_CHECK_U64(place->ops->give_back(file, PLACE_IMAGE_SIZE, &place_fault), Q2_OK);
    T_CHECK_U64(file->mapped_size, PLACE_IMAGE_SIZE);
    T_CHECK_U64(file->source->size, PLACE_IMAGE_SIZE);
    T_CHECK_U64(file->source->ops->read_at(file->source, PLACE_IMAGE_SIZE, &byte, 1), Q2_ERR_IO);
    T_CHECK_U64(place->ops->check(file, &place_fault), Q2_OK);
    place_check_pattern(file->source);
    place->ops->close_file(file);
    file = place_file(PLACE_IMAGE, false);
    T_CHECK_U64(file->source->size, PLACE_IMAGE_SIZE);
    place->ops->close_file(file);
}

static void test_forget_answers_for_files_that_were_written(void)
{
    struct q2_place_file *file;
    uint8_t bytes[512] = {2};
    bool attention = false;

    if (!q2_place_can(place, Q2_PLACE_REMEMBERS))
        return;
    file = place_file(PLACE_IMAGE, true);
    place->ops->watch(file, &attention);
    T_CHECK_U64(place->ops->forget(place, true, &place_fault), Q2_OK);
    T_CHECK(!attention);
    T_CHECK_U64(file->source->ops->write_at(file->source, 0, bytes, sizeof(bytes)), Q2_OK);
    T_CHECK_U64(place->ops->forget(place, false, &place_fault), Q2_OK);
    place->ops->watch(file, NULL);
    place->ops->close_file(file);
}

static inline void place_case(const char *name, void (*run)(void))
{
    char title[200];

    snprintf(title, sizeof(title), "%s: %s", place_fixture->name, name);
    place = place_fixture->open();
    if (!place) {
        printf("not ok - %s: the place could not be made\n", title);
        exit(1);
    }
    run();
    place->ops->close(place);
    place_fixture->close();
    t_case_end(title);
}
#define PLACE_CASE(run) place_case(#run, run)

static inline void place_suite(const struct place_fixture *fixture)
{
    place_fixture = fixture;
    PLACE_CASE(test_open_file_gives_its_bytes_and_says_how_it_is_read);
    PLACE_CASE(test_open_file_of_what_cannot_be_opened_is_refused_and_explained);
    PLACE_CASE(test_identity_is_the_files_however_it_is_named);
    PLACE_CASE(test_load_reads_small_files_and_cuts_large_ones);
    PLACE_CASE(test_list_names_each_file_once_and_ends_when_told);
    PLACE_CASE(test_abilities_agree_with_functions);
    PLACE_CASE(test_locate_covers_the_file_inside_its_partition);
    PLACE_CASE(test_write_reads_back_by_the_same_and_by_another_opening);
    PLACE_CASE(test_write_to_a_file_that_was_replaced_changes_nothing);
    PLACE_CASE(test_make_room_is_zero_and_can_be_given_back);
    PLACE_CASE(test_make_room_beyond_the_space_takes_what_there_is);
    PLACE_CASE(test_give_back_cuts_bytes_that_are_used_no_more);
    PLACE_CASE(test_forget_answers_for_files_that_were_written);
}

#endif
