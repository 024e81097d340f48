/* Load options in the firmware's variables: making one for a file, and taking it out.
 *
 * May call the variable services. Variables of other programs are read and never written; an order
 * keeps its other members in their places.
 */
#ifndef METALCOW_EFI_OPTION_STORE_H
#define METALCOW_EFI_OPTION_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <efi.h>

#include "q2_status.h"

/* A list of options. */
struct mc_option_kind {
    const char *prefix; /* of the variables: "Driver", "Boot" */
    const char *order;  /* the variable of the order */
    bool in_front;      /* a new option becomes the first of the order, else the last */
};

extern const struct mc_option_kind mc_driver_options, mc_boot_options;

/* What was done to the options. */
struct mc_option_result {
    uint16_t number;   /* of the option; of the last one that was removed */
    bool is_new;       /* install: there was none */
    bool is_changed;   /* install: it or the order was written */
    size_t nb_removed; /* uninstall */
};

/* Have an active option for a file. One that leads to the same file by another path gets the new
 * path and keeps its number, its place in the order and its data.
 *
 * path         the file's device path, with its end node
 * description  UCS-2, NUL-terminated: what a person reads
 *
 * Q2_OK            *ret_result says what was written; possibly nothing
 * Q2_ERR_LIMIT     all numbers are in use, no memory
 * Q2_ERR_NO_SPACE  the firmware has no room for variables
 * Q2_ERR_DENIED    it refuses to write them
 * Q2_ERR_IO        it fails to read or write them
 * After an error the order is as before, and a new option was removed again.
 */
enum q2_status mc_option_install(const struct mc_option_kind *kind, const EFI_DEVICE_PATH *path,
                                 const CHAR16 *description, struct q2_fault *fault,
                                 struct mc_option_result *ret_result);

/* Remove all options that lead to a file. Errors as mc_option_install(); options that were removed
 * before the error stay removed. */
enum q2_status mc_option_uninstall(const struct mc_option_kind *kind, const EFI_DEVICE_PATH *path,
                                   struct q2_fault *fault, struct mc_option_result *ret_result);

#endif
