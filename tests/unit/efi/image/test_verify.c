/* Files against pinned sums: the digests are those of sha256sum. */
#include "efi/image/verify.h"

#include "tests/support/fake_source.h"
#include "tests/support/t.h"

/* printf abc | sha256sum; printf '' | sha256sum; and of 100000 bytes of 'x'. */
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MANY  "d69e68988157833272305aaf21f453c800346e8a3640db6578e260215542e5d4"
#define UPPER "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
#define NB    100000u

static uint8_t many[NB], buffer[4096];
static uint64_t told, told_total;
static unsigned int nb_told;

static void tell(uint64_t done, uint64_t total)
{
    T_CHECK(done > told && done <= total);
    told = done;
    told_total = total;
    nb_told++;
}

static struct fake_source abc, empty, long_file;

/* The files that a row names by letters: a is abc, e is empty, m is many bytes. */
static enum q2_status run(const char *files, const char *const *sums, struct q2_fault *fault)
{
    struct mc_verification verification = {
        .sums = sums, .buffer = buffer, .buffer_size = sizeof(buffer), .tell = tell};

    told = told_total = nb_told = 0;
    memset(many, 'x', sizeof(many));
    fake_source_init(&abc, "abc", (const uint8_t *)"abc", 3);
    fake_source_init(&empty, "empty", many, 0);
    fake_source_init(&long_file, "many", many, NB);
    for (; *files != '\0'; files++)
        mc_verification_add(&verification, *files == 'a'   ? &abc.source
                                           : *files == 'e' ? &empty.source
                                                           : &long_file.source);
    return mc_verification_run(&verification, fault);
}

static void test_verify_table(void)
{
    static const struct {
        const char *name, *files;
        const char *sums[MC_MAX_SUMS];
        enum q2_status status;
        const char *file; /* what the fault names */
    } rows[] = {
        {"one", "a", {ABC}, Q2_OK, ""},
        {"upper case", "a", {UPPER}, Q2_OK, ""},
        {"three", "ame", {ABC, MANY, EMPTY}, Q2_OK, ""},
        {"exchanged", "am", {MANY, ABC}, Q2_ERR_DENIED, "abc"},
        {"the second differs", "am", {ABC, ABC}, Q2_ERR_DENIED, "many"},
        {"an empty file differs", "e", {ABC}, Q2_ERR_DENIED, "empty"},
        {"a sum is missing", "am", {ABC}, Q2_ERR_DENIED, "many"},
        {"a sum too many", "a", {ABC, MANY}, Q2_ERR_DENIED, ""},
        {"a line that is none", "a", {""}, Q2_ERR_DENIED, "abc"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_fault fault = {.status = Q2_OK};

        t_row(rows[i].name);
        T_CHECK(run(rows[i].files, rows[i].sums, &fault) == rows[i].status);
        T_CHECK_STR(fault.file, rows[i].file);
        T_CHECK(fault.status == rows[i].status);
    }
}

static void test_verify_every_byte_counts(void)
{
    static const char *const sums[MC_MAX_SUMS] = {MANY};
    struct q2_fault fault;
    struct mc_verification verification = {
        .sums = sums, .buffer = buffer, .buffer_size = sizeof(buffer), .tell = tell};

    T_CHECK(run("m", sums, &fault) == Q2_OK);
    T_CHECK(nb_told == (NB + sizeof(buffer) - 1) / sizeof(buffer));
    T_CHECK(told == NB && told_total == NB);
    mc_verification_add(&verification, &long_file.source);
    for (size_t at = 0; at < NB; at += NB / 7) {
        told = 0;
        many[at] ^= 1;
        T_CHECK(mc_verification_run(&verification, &fault) == Q2_ERR_DENIED);
        many[at] ^= 1;
    }
    told = 0;
    T_CHECK(mc_verification_run(&verification, &fault) == Q2_OK);
}

/* Nothing is read where the list is not right. */
static void test_verify_checks_the_list_first(void)
{
    static const char *const sums[MC_MAX_SUMS] = {ABC};
    struct q2_fault fault;

    T_CHECK(run("am", sums, &fault) == Q2_ERR_DENIED);
    T_CHECK_U64(nb_told, 0);
}

static void test_verify_sixteen_files_and_no_more(void)
{
    const char *sums[MC_MAX_SUMS];
    struct q2_fault fault;

    for (size_t i = 0; i < MC_MAX_SUMS; i++)
        sums[i] = ABC;
    T_CHECK(run("aaaaaaaaaaaaaaaa", sums, &fault) == Q2_OK);
    T_CHECK(run("aaaaaaaaaaaaaaaaa", sums, &fault) == Q2_ERR_LIMIT);
}

static void test_sum_parse(void)
{
    static const struct {
        const char *text;
        bool is_sum;
    } rows[] = {{ABC, true},      {UPPER, true},    {"", false},      {"ba7816", false},
                {ABC "0", false}, {ABC " ", false}, {" " ABC, false}, {"g" ABC, false}};
    uint8_t sum[MC_SUM_LENGTH];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].text);
        T_CHECK(mc_sum_parse(rows[i].text, sum) == rows[i].is_sum);
    }
    T_CHECK(mc_sum_parse(UPPER, sum));
    T_CHECK_U64(sum[0], 0xba);
    T_CHECK_U64(sum[31], 0xad);
}

int main(void)
{
    T_RUN(test_verify_table);
    T_RUN(test_verify_every_byte_counts);
    T_RUN(test_verify_checks_the_list_first);
    T_RUN(test_verify_sixteen_files_and_no_more);
    T_RUN(test_sum_parse);
    return t_done();
}
