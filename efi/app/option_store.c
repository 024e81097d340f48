/* Load options in variables.
 * (UEFI 2.10, 8.2 "Variable Services", 3.3 "Globally Defined Variables")
 *
 * May call efi/base/ and the variable services. Invariant: no step of ours leaves an order that
 * names a missing option. So an option is written before the order that names it, and taken out of
 * the order before it is removed.
 */
#include "option_store.h"

#include "drivers/efi/status.h"
#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/load_option.h"
#include "efi/base/text.h"
#include "q2_fail.h"

const struct mc_option_kind mc_driver_options = {"Driver", "DriverOrder", false};
const struct mc_option_kind mc_boot_options = {"Boot", "BootOrder", true};

/* "DriverOrder" and "Driver0000" with their NUL. */
#define NAME_UNITS 16u

/* Room for the name of any variable. The list fails at a longer name. */
#define MAX_NAME_BYTES 4096u

#define ATTRIBUTES                                                                                 \
    (EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS)

static EFI_GUID global_guid = EFI_GLOBAL_VARIABLE;

static EFI_RUNTIME_SERVICES *runtime(void)
{
    return mc_firmware.SystemTable->RuntimeServices;
}

/* A variable's bytes, in pool memory. */
struct variable {
    uint8_t *bytes; /* NULL: size is 0, or there is no such variable */
    UINTN size;
};

static void ascii_name(const char *ascii, CHAR16 *ret_name)
{
    while (*ascii != '\0')
        *ret_name++ = (unsigned char)*ascii++;
    *ret_name = 0;
}

/* Read a variable into a buffer that has room for `more` further bytes. One that is not there is
 * empty. */
static enum q2_status get_variable(CHAR16 *name, size_t more, struct q2_fault *fault,
                                   struct variable *ret_variable)
{
    UINTN size = 0;
    EFI_STATUS status = runtime()->GetVariable(name, &global_guid, NULL, &size, NULL);

    *ret_variable = (struct variable){.bytes = NULL};
    if (status == EFI_NOT_FOUND)
        size = 0;
    else if (status != EFI_BUFFER_TOO_SMALL && EFI_ERROR(status))
        return q2_fail(
            fault, Q2_ERR_IO,
            "the firmware cannot read its boot options; restart the machine and try again", NULL);
    ret_variable->bytes = mc_alloc(size + more + 1);
    if (!ret_variable->bytes)
        return q2_fail_memory(fault);
    if (size > 0 &&
        EFI_ERROR(runtime()->GetVariable(name, &global_guid, NULL, &size, ret_variable->bytes))) {
        mc_free(ret_variable->bytes);
        ret_variable->bytes = NULL;
        return q2_fail(
            fault, Q2_ERR_IO,
            "the firmware cannot read its boot options; restart the machine and try again", NULL);
    }
    ret_variable->size = size;
    return Q2_OK;
}

/* Why a variable cannot be written, in words. */
static enum q2_status refuse_write(EFI_STATUS efi_status, struct q2_fault *fault)
{
    switch (efi_status) {
    case EFI_OUT_OF_RESOURCES:
        return q2_fail(fault, Q2_ERR_NO_SPACE,
                       "the firmware has no space for another boot option; the shell's 'bcfg boot "
                       "dump' lists them, and 'bcfg boot rm N' removes one",
                       NULL);
    case EFI_WRITE_PROTECTED:
    case EFI_ACCESS_DENIED:
    case EFI_SECURITY_VIOLATION:
        return q2_fail(fault, Q2_ERR_DENIED,
                       "the firmware does not let programs change its boot options; look in its "
                       "setup for a protection of them",
                       NULL);
    default:
        return q2_fail(
            fault, Q2_ERR_IO,
            "the firmware failed to store its boot options; restart the machine and try again",
            NULL);
    }
}

/* Write a variable. size 0 removes it; it is no error if there is none. */
static enum q2_status set_variable(CHAR16 *name, const void *bytes, size_t size,
                                   struct q2_fault *fault)
{
    EFI_STATUS status = runtime()->SetVariable(name, &global_guid, size > 0 ? ATTRIBUTES : 0, size,
                                               (VOID *)(uintptr_t)bytes);

    if (status == EFI_NOT_FOUND && size == 0)
        status = EFI_SUCCESS;
    return EFI_ERROR(status) ? refuse_write(status, fault) : Q2_OK;
}

/* What is known of a list of options. Some 16 KiB, in pool memory. */
struct options {
    const struct mc_option_kind *kind;
    const uint8_t *path;
    size_t path_size;
    uint8_t used[MC_NB_OPTIONS / 8];  /* numbers that have a variable */
    uint8_t found[MC_NB_OPTIONS / 8]; /* those of them that lead to the file */
};

static bool has_bit(const uint8_t *bits, uint32_t number)
{
    return (bits[number / 8] >> number % 8 & 1) != 0;
}

static void set_bit(uint8_t *bits, uint16_t number)
{
    bits[number / 8] = (uint8_t)(bits[number / 8] | 1u << number % 8);
}

/* Note the numbers of all options before any write, because writing disturbs the enumeration. */
static enum q2_status list_options(struct options *options, struct q2_fault *fault)
{
    CHAR16 *name = mc_alloc(MAX_NAME_BYTES);
    EFI_GUID guid;
    EFI_STATUS status = EFI_SUCCESS;

    if (!name)
        return q2_fail_memory(fault);
    while (status == EFI_SUCCESS) {
        UINTN size = MAX_NAME_BYTES;
        uint16_t number;

        status = runtime()->GetNextVariableName(&size, name, &guid);
        if (status == EFI_SUCCESS && __builtin_memcmp(&guid, &global_guid, sizeof(guid)) == 0 &&
            mc_option_name_parse((const uint16_t *)name, options->kind->prefix, &number))
            set_bit(options->used, number);
    }
    mc_free(name);
    return status == EFI_NOT_FOUND
               ? Q2_OK
               : q2_fail(
                     fault, Q2_ERR_IO,
                     "the firmware cannot list its boot options; restart the machine and try again",
                     NULL);
}

/* Which of the options lead to the file? */
static enum q2_status find_options(struct options *options, struct q2_fault *fault)
{
    CHAR16 name[NAME_UNITS];
    enum q2_status status = list_options(options, fault);

    for (uint32_t number = 0; number < MC_NB_OPTIONS && status == Q2_OK; number++) {
        struct variable variable;
        struct mc_load_option option;

        if (!has_bit(options->used, number))
            continue;
        mc_option_name_put(options->kind->prefix, (uint16_t)number, (uint16_t *)name);
        status = get_variable(name, 0, fault, &variable);
        if (status == Q2_OK && mc_load_option_decode(variable.bytes, variable.size, &option) &&
            mc_load_option_match(&option, options->path, options->path_size) != MC_OPTION_OTHER)
            set_bit(options->found, (uint16_t)number);
        mc_free(variable.bytes);
    }
    return status;
}

static enum q2_status open_options(const struct mc_option_kind *kind, const EFI_DEVICE_PATH *path,
                                   struct q2_fault *fault, struct options **ret_options)
{
    struct options *options = mc_alloc(sizeof(*options));
    enum q2_status status;

    if (!options)
        return q2_fail_memory(fault);
    options->kind = kind;
    options->path = (const uint8_t *)path;
    options->path_size = mc_device_path_size(path);
    status = find_options(options, fault);
    if (status == Q2_OK)
        *ret_options = options;
    else
        mc_free(options);
    return status;
}

/* Insert a number into the order, or take it out. ret_changed: it was written. */
static enum q2_status change_order(const struct options *options, uint16_t number, bool insert,
                                   struct q2_fault *fault, bool *ret_changed)
{
    CHAR16 name[NAME_UNITS];
    struct variable order;
    enum q2_status status;
    size_t nb, nb_new;

    ascii_name(options->kind->order, name);
    status = get_variable(name, sizeof(uint16_t), fault, &order);
    if (status != Q2_OK)
        return status;
    nb = order.size / sizeof(uint16_t);
    nb_new = insert ? mc_order_insert((uint16_t *)(void *)order.bytes, nb, number,
                                      options->kind->in_front)
                    : mc_order_remove((uint16_t *)(void *)order.bytes, nb, number);
    *ret_changed = nb_new != nb;
    if (nb_new != nb)
        status = set_variable(name, order.bytes, nb_new * sizeof(uint16_t), fault);
    mc_free(order.bytes);
    return status;
}

/* Write an option that leads to the file, if it does not already; data of an old one is kept. */
static enum q2_status write_option(const struct options *options, uint16_t number,
                                   const CHAR16 *description, struct q2_fault *fault,
                                   bool *ret_changed)
{
    size_t description_size = sizeof(CHAR16);
    struct mc_load_option option = {.attributes = MC_LOAD_OPTION_ACTIVE};
    struct variable old;
    CHAR16 name[NAME_UNITS];
    uint8_t *bytes;
    size_t size;
    enum q2_status status;

    *ret_changed = false;
    mc_option_name_put(options->kind->prefix, number, (uint16_t *)name);
    status = get_variable(name, 0, fault, &old);
    if (status != Q2_OK)
        return status;
    for (const CHAR16 *c = description; *c != 0; c++)
        description_size += sizeof(CHAR16);
    option.description = (const uint8_t *)description;
    option.description_size = description_size;
    if (mc_load_option_decode(old.bytes, old.size, &option) &&
        mc_load_option_match(&option, options->path, options->path_size) == MC_OPTION_SAME) {
        mc_free(old.bytes);
        return Q2_OK;
    }
    option.attributes |= MC_LOAD_OPTION_ACTIVE;
    option.path = options->path;
    option.path_size = options->path_size;
    size = option.description_size + option.path_size + option.data_size + sizeof(uint64_t);
    bytes = mc_alloc(size);
    size = bytes ? mc_load_option_encode(&option, bytes, size) : 0;
    status = size == 0 ? q2_fail_memory(fault) : set_variable(name, bytes, size, fault);
    *ret_changed = status == Q2_OK;
    mc_free(bytes);
    mc_free(old.bytes);
    return status;
}

/* The option to write: the first one that leads to the file, else a number that is free. */
static bool choose_number(const struct options *options, struct mc_option_result *result)
{
    for (uint32_t number = 0; number < MC_NB_OPTIONS; number++) {
        if (has_bit(options->found, number)) {
            result->number = (uint16_t)number;
            return true;
        }
    }
    result->is_new = true;
    return mc_option_number_find(options->used, &result->number);
}

/* Undo what an option that could not enter the order has left. */
static void withdraw(const struct options *options, uint16_t number)
{
    struct q2_fault ignored; /* the first failure is the one that is reported */
    CHAR16 name[NAME_UNITS];

    mc_option_name_put(options->kind->prefix, number, (uint16_t *)name);
    (void)set_variable(name, NULL, 0, &ignored);
}

enum q2_status mc_option_install(const struct mc_option_kind *kind, const EFI_DEVICE_PATH *path,
                                 const CHAR16 *description, struct q2_fault *fault,
                                 struct mc_option_result *ret_result)
{
    struct mc_option_result result = {.is_new = false};
    struct options *options;
    bool is_written = false, is_ordered = false;
    enum q2_status status = open_options(kind, path, fault, &options);

    if (status != Q2_OK)
        return status;
    if (!choose_number(options, &result))
        status = q2_fail(
            fault, Q2_ERR_LIMIT,
            "all numbers of boot options are in use; the shell's 'bcfg boot rm N' removes one",
            NULL);
    if (status == Q2_OK)
        status = write_option(options, result.number, description, fault, &is_written);
    if (status == Q2_OK) {
        status = change_order(options, result.number, true, fault, &is_ordered);
        if (status != Q2_OK && result.is_new)
            withdraw(options, result.number);
    }
    mc_free(options);
    result.is_changed = is_written || is_ordered;
    if (status == Q2_OK)
        *ret_result = result;
    return status;
}

enum q2_status mc_option_uninstall(const struct mc_option_kind *kind, const EFI_DEVICE_PATH *path,
                                   struct q2_fault *fault, struct mc_option_result *ret_result)
{
    struct mc_option_result result = {.nb_removed = 0};
    struct options *options;
    CHAR16 name[NAME_UNITS];
    bool is_ordered;
    enum q2_status status = open_options(kind, path, fault, &options);

    if (status != Q2_OK)
        return status;
    for (uint32_t number = 0; number < MC_NB_OPTIONS && status == Q2_OK; number++) {
        if (!has_bit(options->found, number))
            continue;
        status = change_order(options, (uint16_t)number, false, fault, &is_ordered);
        mc_option_name_put(kind->prefix, (uint16_t)number, (uint16_t *)name);
        if (status == Q2_OK)
            status = set_variable(name, NULL, 0, fault);
        if (status == Q2_OK) {
            result.number = (uint16_t)number;
            result.nb_removed++;
        }
    }
    mc_free(options);
    if (status == Q2_OK)
        *ret_result = result;
    return status;
}
