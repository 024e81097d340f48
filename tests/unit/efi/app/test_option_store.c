/* Options in variables: installing and taking out over variable services that are made here, which
 * fail at every call in turn, and in which nothing but our own may change. */
#include "efi/app/option_store.h"

#include "efi/base/firmware.h"
#include "efi/base/load_option.h"
#include "tests/support/efi_pool.h"
#include "tests/support/t.h"

#define MAX_VARIABLES 16u

/* Device paths: end, a bus, a partition, files. */
#define END  0x7f, 0xff, 4, 0
#define PCI  1, 1, 6, 0, 0, 2
#define USB  3, 5, 6, 0, 1, 0
#define HD   4, 1, 8, 0, 1, 0, 0, 0
#define OURS 4, 4, 8, 0, 'm', 0, 0, 0
#define THEM 4, 4, 8, 0, 't', 0, 0, 0

static const uint8_t our_path[] = {PCI, HD, OURS, END};
static const uint8_t moved_path[] = {USB, HD, OURS, END};
static const uint8_t their_path[] = {PCI, HD, THEM, END};

struct mock_variable {
    CHAR16 name[16];
    EFI_GUID guid;
    UINT32 attributes;
    UINTN size; /* 0: free */
    uint8_t bytes[128];
};

static struct {
    struct mock_variable list[MAX_VARIABLES];
    unsigned int nb_sets, fail_at; /* SetVariable number fail_at fails, from 1 */
    EFI_STATUS failure;
    bool fail_get, fail_list;
} store;

static const EFI_GUID global = EFI_GLOBAL_VARIABLE;
static const EFI_GUID foreign = {1, 2, 3, {4}};

static size_t units(const CHAR16 *name)
{
    size_t n = 0;

    while (name[n] != 0)
        n++;
    return n;
}

static struct mock_variable *find(const CHAR16 *name, const EFI_GUID *guid)
{
    for (size_t i = 0; i < MAX_VARIABLES; i++) {
        struct mock_variable *v = &store.list[i];
        if (v->size > 0 && memcmp(&v->guid, guid, sizeof(*guid)) == 0 &&
            units(v->name) == units(name) && memcmp(v->name, name, units(name) * 2) == 0)
            return v;
    }
    return NULL;
}

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes, UINTN *size,
                                      VOID *data)
{
    struct mock_variable *v = find(name, guid);

    (void)attributes;
    if (store.fail_get)
        return EFI_DEVICE_ERROR;
    if (!v)
        return EFI_NOT_FOUND;
    if (*size < v->size) {
        *size = v->size;
        return EFI_BUFFER_TOO_SMALL;
    }
    *size = v->size;
    memcpy(data, v->bytes, v->size);
    return EFI_SUCCESS;
}

/* In the order of the list; the empty name asks for the first. */
static EFI_STATUS EFIAPI get_next(UINTN *size, CHAR16 *name, EFI_GUID *guid)
{
    struct mock_variable *v = name[0] == 0 ? NULL : find(name, guid);
    size_t at = v ? (size_t)(v - store.list) + 1 : 0;

    if (store.fail_list)
        return EFI_DEVICE_ERROR;
    if (name[0] != 0 && !v)
        return EFI_INVALID_PARAMETER;
    while (at < MAX_VARIABLES && store.list[at].size == 0)
        at++;
    if (at == MAX_VARIABLES)
        return EFI_NOT_FOUND;
    T_CHECK(*size >= sizeof(store.list[at].name));
    memcpy(name, store.list[at].name, sizeof(store.list[at].name));
    *guid = store.list[at].guid;
    return EFI_SUCCESS;
}

static void check_order_names_what_is_there(void);

static EFI_STATUS EFIAPI set_variable(CHAR16 *name, EFI_GUID *guid, UINT32 attributes, UINTN size,
                                      VOID *data)
{
    struct mock_variable *v = find(name, guid);

    T_CHECK(memcmp(guid, &global, sizeof(global)) == 0);
    if (++store.nb_sets == store.fail_at)
        return store.failure;
    if (size == 0 && !v)
        return EFI_NOT_FOUND;
    for (size_t i = 0; !v && i < MAX_VARIABLES; i++)
        v = store.list[i].size == 0 ? &store.list[i] : NULL;
    if (!v || size > sizeof(v->bytes))
        return EFI_OUT_OF_RESOURCES;
    if (size > 0)
        T_CHECK_U64(attributes, 7); /* kept, and seen by the firmware and by systems */
    memset(v, 0, sizeof(*v));
    if (size > 0) {
        memcpy(v->name, name, units(name) * 2);
        v->guid = *guid;
        v->attributes = attributes;
        v->size = size;
        memcpy(v->bytes, data, size);
    }
    check_order_names_what_is_there();
    return EFI_SUCCESS;
}

static const CHAR16 *ucs2(const char *text)
{
    static CHAR16 name[16];
    size_t n = 0;

    memset(name, 0, sizeof(name));
    for (; text[n] != '\0'; n++)
        name[n] = (CHAR16)text[n];
    return name;
}

static void put(const char *name, const EFI_GUID *guid, const void *bytes, size_t size)
{
    struct mock_variable *v = store.list;

    while (v->size > 0)
        v++;
    memcpy(v->name, ucs2(name), sizeof(v->name));
    v->guid = *guid;
    v->attributes = 7;
    v->size = size;
    memcpy(v->bytes, bytes, size);
}

/* An option that leads to a path, described as "m", with some data. */
static void put_option(const char *name, uint32_t attributes, const uint8_t *path, size_t path_size)
{
    struct mc_load_option option = {.attributes = attributes,
                                    .description = (const uint8_t *)"m\0\0",
                                    .description_size = 4,
                                    .path = path,
                                    .path_size = path_size,
                                    .data = (const uint8_t *)"data",
                                    .data_size = 4};
    uint8_t bytes[128];

    put(name, &global, bytes, mc_load_option_encode(&option, bytes, sizeof(bytes)));
}

static void start(void)
{
    static EFI_BOOT_SERVICES services = {
        .AllocatePool = allocate_pool, .FreePool = free_pool, .SetMem = set_mem};
    static EFI_RUNTIME_SERVICES runtime = {
        .GetVariable = get_variable, .GetNextVariableName = get_next, .SetVariable = set_variable};
    static EFI_SYSTEM_TABLE table = {.BootServices = &services, .RuntimeServices = &runtime};

    memset(&store, 0, sizeof(store));
    mc_firmware_init(NULL, &table);
}

/* Two drivers of others, one of which is not in the order; and variables that only look like it. */
static void start_with_others(void)
{
    static const uint16_t order[] = {2, 9}; /* 9 is somebody's mistake, and stays */

    start();
    put_option("Driver0000", 1, their_path, sizeof(their_path));
    put_option("Driver0002", 1, their_path, sizeof(their_path));
    put("DriverOrder", &global, order, sizeof(order));
    put("Driver0001", &foreign, "x", 1);
    put("Driver0003", &global, "malformed", 9);
    put("Boot0001", &global, "y", 1);
}

static size_t order_of(const char *name, uint16_t *order)
{
    struct mock_variable *v = find(ucs2(name), &global);

    if (!v)
        return 0;
    memcpy(order, v->bytes, v->size);
    return v->size / 2;
}

/* Except 9, which was so before. */
static void check_order_names_what_is_there(void)
{
    uint16_t order[64], name[16];
    size_t nb = order_of("DriverOrder", order);

    for (size_t i = 0; i < nb; i++) {
        mc_option_name_put("Driver", order[i], name);
        T_CHECK(order[i] == 9 || find((const CHAR16 *)name, &global) != NULL);
    }
}

static enum q2_status install(const uint8_t *path, struct mc_option_result *ret_result)
{
    struct q2_fault fault;

    return mc_option_install(&mc_driver_options, (const EFI_DEVICE_PATH *)(const void *)path,
                             (const CHAR16 *)(const void *)"m\0e\0\0", &fault, ret_result);
}

static enum q2_status uninstall(struct mc_option_result *ret_result)
{
    struct q2_fault fault;

    return mc_option_uninstall(&mc_driver_options, (const EFI_DEVICE_PATH *)(const void *)our_path,
                               &fault, ret_result);
}

static void check_order(const char *name, size_t nb, const uint16_t *want)
{
    uint16_t order[64];

    T_CHECK_U64(order_of(name, order), nb);
    T_CHECK(memcmp(order, want, nb * 2) == 0);
}

static void test_option_install_takes_a_free_number_at_the_end(void)
{
    struct mc_option_result result;
    struct mock_variable *v;
    struct mc_load_option option;

    start_with_others();
    T_CHECK(install(our_path, &result) == Q2_OK);
    T_CHECK_U64(result.number, 1); /* 1 belongs to another vendor, 3 exists though malformed */
    T_CHECK(result.is_new && result.is_changed);
    check_order("DriverOrder", 3, (const uint16_t[]){2, 9, 1});
    v = find(ucs2("Driver0001"), &global);
    T_CHECK(v && mc_load_option_decode(v->bytes, v->size, &option));
    T_CHECK_U64(option.attributes, MC_LOAD_OPTION_ACTIVE);
    T_CHECK_U64(option.path_size, sizeof(our_path));
    T_CHECK(memcmp(option.path, our_path, sizeof(our_path)) == 0);
    T_CHECK_U64(option.data_size, 0);
}

static void test_option_install_into_nothing(void)
{
    struct mc_option_result result;

    start();
    T_CHECK(install(our_path, &result) == Q2_OK);
    check_order("DriverOrder", 1, (const uint16_t[]){0});
}

static void test_option_install_again_writes_nothing(void)
{
    struct mc_option_result result;

    start_with_others();
    T_CHECK(install(our_path, &result) == Q2_OK);
    store.nb_sets = 0;
    T_CHECK(install(our_path, &result) == Q2_OK);
    T_CHECK_U64(store.nb_sets, 0);
    T_CHECK_U64(result.number, 1);
    T_CHECK(!result.is_new && !result.is_changed);
}

static void test_option_install_follows_a_stick_to_another_port(void)
{
    struct mc_option_result result;
    struct mock_variable *v;
    struct mc_load_option option;

    start_with_others();
    put_option("Driver0005", 0, moved_path, sizeof(moved_path)); /* not in the order, not active */
    T_CHECK(install(our_path, &result) == Q2_OK);
    T_CHECK_U64(result.number, 5);
    T_CHECK(!result.is_new && result.is_changed);
    v = find(ucs2("Driver0005"), &global);
    T_CHECK(v && mc_load_option_decode(v->bytes, v->size, &option));
    T_CHECK_U64(option.attributes, MC_LOAD_OPTION_ACTIVE);
    T_CHECK(memcmp(option.path, our_path, sizeof(our_path)) == 0);
    T_CHECK(option.data_size == 4 && memcmp(option.data, "data", 4) == 0);
    check_order("DriverOrder", 3, (const uint16_t[]){2, 9, 5});
}

static void test_option_boot_comes_first(void)
{
    static const uint16_t order[] = {1};
    struct mc_option_result result;
    struct q2_fault fault;

    start_with_others();
    put("BootOrder", &global, order, sizeof(order));
    T_CHECK(mc_option_install(&mc_boot_options, (const EFI_DEVICE_PATH *)(const void *)our_path,
                              (const CHAR16 *)(const void *)"m\0\0", &fault, &result) == Q2_OK);
    T_CHECK_U64(result.number, 0);
    check_order("BootOrder", 2, (const uint16_t[]){0, 1});
    check_order("DriverOrder", 2, (const uint16_t[]){2, 9});
}

static void test_option_uninstall_takes_all_of_ours_and_nothing_else(void)
{
    struct mc_option_result result;
    static struct mock_variable before[MAX_VARIABLES];

    start_with_others();
    memcpy(before, store.list, sizeof(before));
    T_CHECK(install(our_path, &result) == Q2_OK);
    put_option("Driver0007", 1, moved_path, sizeof(moved_path));
    T_CHECK(uninstall(&result) == Q2_OK);
    T_CHECK_U64(result.nb_removed, 2);
    T_CHECK(memcmp(before, store.list, sizeof(before)) == 0);
    store.nb_sets = 0;
    T_CHECK(uninstall(&result) == Q2_OK);
    T_CHECK_U64(result.nb_removed, 0);
    T_CHECK_U64(store.nb_sets, 0);
}

static void test_option_uninstall_of_the_only_one_removes_the_order(void)
{
    struct mc_option_result result;

    start();
    T_CHECK(install(our_path, &result) == Q2_OK && uninstall(&result) == Q2_OK);
    T_CHECK(find(ucs2("DriverOrder"), &global) == NULL);
}

/* Each refusal at each call: it is named, and a failed installation leaves nothing. */
static void test_option_write_failures_change_nothing(void)
{
    static const struct {
        EFI_STATUS failure;
        enum q2_status status;
    } rows[] = {{EFI_OUT_OF_RESOURCES, Q2_ERR_NO_SPACE},
                {EFI_WRITE_PROTECTED, Q2_ERR_DENIED},
                {EFI_SECURITY_VIOLATION, Q2_ERR_DENIED},
                {EFI_DEVICE_ERROR, Q2_ERR_IO}};
    static struct mock_variable before[MAX_VARIABLES];
    struct mc_option_result result = {.number = 77};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned int at = 1; at <= 2; at++) {
            start_with_others();
            memcpy(before, store.list, sizeof(before));
            store.fail_at = at;
            store.failure = rows[i].failure;
            T_CHECK(install(our_path, &result) == rows[i].status);
            T_CHECK_U64(result.number, 77);
            T_CHECK(memcmp(before, store.list, sizeof(before)) == 0);
        }
    }
}

static void test_option_uninstall_cut_leaves_an_order_that_is_right(void)
{
    struct mc_option_result result;

    for (unsigned int at = 1; at <= 2; at++) {
        start_with_others();
        T_CHECK(install(our_path, &result) == Q2_OK);
        store.nb_sets = 0;
        store.fail_at = at;
        store.failure = EFI_DEVICE_ERROR;
        T_CHECK(uninstall(&result) == Q2_ERR_IO);
        T_CHECK(find(ucs2("Driver0001"), &global) != NULL);
        T_CHECK(uninstall(&result) == Q2_OK);
        T_CHECK_U64(result.nb_removed, 1);
        check_order("DriverOrder", 2, (const uint16_t[]){2, 9});
    }
}

static void test_option_read_failures_write_nothing(void)
{
    struct mc_option_result result;

    for (unsigned int which = 0; which < 2; which++) {
        start_with_others();
        store.fail_get = which == 0;
        store.fail_list = which == 1;
        T_CHECK(install(our_path, &result) == Q2_ERR_IO);
        T_CHECK(uninstall(&result) == Q2_ERR_IO);
        T_CHECK_U64(store.nb_sets, 0);
    }
}

int main(void)
{
    T_RUN(test_option_install_takes_a_free_number_at_the_end);
    T_RUN(test_option_install_into_nothing);
    T_RUN(test_option_install_again_writes_nothing);
    T_RUN(test_option_install_follows_a_stick_to_another_port);
    T_RUN(test_option_boot_comes_first);
    T_RUN(test_option_uninstall_takes_all_of_ours_and_nothing_else);
    T_RUN(test_option_uninstall_of_the_only_one_removes_the_order);
    T_RUN(test_option_write_failures_change_nothing);
    T_RUN(test_option_uninstall_cut_leaves_an_order_that_is_right);
    T_RUN(test_option_read_failures_write_nothing);
    return t_done();
}
