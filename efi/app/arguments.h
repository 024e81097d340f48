/* The words of the command line, and the volume and path of the files that they name. */
#ifndef METALCOW_EFI_ARGUMENTS_H
#define METALCOW_EFI_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include <efi.h>

#include "q2_status.h"

/* A command line with more words is refused. */
#define MC_MAX_WORDS 32u

/* The words after the program's own name; UTF-8 in pool memory. */
struct mc_arguments {
    size_t nb;
    char *words[MC_MAX_WORDS];
    bool from_shell;
};

/* Get the words that a UEFI shell passed; none if the firmware started the program.
 *
 * *arguments  also after an error: mc_arguments_free() frees what it has
 *
 * Q2_ERR_LIMIT     more than MC_MAX_WORDS words
 * Q2_ERR_BAD_NAME  a word that is no UCS-2 text, or no memory for it
 */
enum q2_status mc_arguments_get(struct mc_arguments *arguments, struct q2_fault *fault);

void mc_arguments_free(struct mc_arguments *arguments);

/* A file: its volume, and its path there as the engine wants it. */
struct mc_location {
    EFI_HANDLE volume;
    char *path; /* pool memory, which the caller frees */
};

/* Find the volume of a path as a person types it: "fs0:\img\a.qcow2", or relative to the shell's
 * current folder; outside the shell on the program's own volume.
 *
 * Q2_ERR_NOT_FOUND  the shell has no such mapping; outside the shell: the program was not loaded
 *                   from a volume
 * Q2_ERR_BAD_NAME   no UCS-2 text, or ".." leaves the root
 * Q2_ERR_LIMIT      no memory
 */
enum q2_status mc_locate(const char *word, struct q2_fault *fault,
                         struct mc_location *ret_location);

/* The volume that the program was loaded from; NULL if it was not loaded from one. */
EFI_HANDLE mc_own_volume(void);

#endif
