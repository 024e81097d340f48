/* What metalcow.efi can be told to do.
 *
 * Each command prints what it has to say, errors included.
 */
#ifndef METALCOW_EFI_COMMANDS_H
#define METALCOW_EFI_COMMANDS_H

#include "arguments.h"
#include "connect.h"
#include "control_client.h"
#include "efi/image/attach.h"
#include "efi/image/entries.h"

/* A parsed command line, without the keys of a disk. Its strings are in the arguments, or NULL. */
struct mc_command_line {
    const char *operand; /* the word that is no option */
    const char *disk;
    const char *rounds, *beside, *row, *write;
    const char *backing_chain, *boot; /* flags */
    const char *repair;               /* leaks, all */
    bool menu;                        /* the command is menu */
};

/* Files that one command line can name: the image, and those of mc_spec_keys. */
#define MC_MAX_LOCATIONS (MC_MAX_BACKING_FILES + 4)

/* What a command line says of a disk. Its paths are as typed until mc_image_arguments_get(). */
struct mc_image_arguments {
    struct mc_disk_spec spec;
    EFI_HANDLE volume;             /* of all the files */
    char *paths[MC_MAX_LOCATIONS]; /* pool memory, what spec points to */
    size_t nb_paths;
};

/* One run of a command: its words and all that it works with. Some KiB, in pool memory. */
struct mc_session {
    struct mc_command_line line;
    struct mc_client client;
    struct mc_disk_record record;
    struct mc_image_arguments image;
    struct mc_entries *entries; /* of the configuration, while boot runs */
    struct mc_loaders loaders;  /* of the disk that boot starts */
    struct q2_fault fault;
    bool has_displaced;            /* disks of the driver gave way to the entry */
    bool from_shell;               /* a shell started the program, and reads what it returns */
    char message[MC_MESSAGE_SIZE]; /* from the driver, or why boot failed */
};

/* Run the command in arguments->words[0]; the default entry of the configuration if there is none.
 */
EFI_STATUS mc_command_run(const struct mc_arguments *arguments);

EFI_STATUS mc_command_attach(struct mc_session *session);
EFI_STATUS mc_command_list(struct mc_session *session);
EFI_STATUS mc_command_detach(struct mc_session *session);
EFI_STATUS mc_command_info(struct mc_session *session);
EFI_STATUS mc_command_map(struct mc_session *session);
EFI_STATUS mc_command_check(struct mc_session *session);
EFI_STATUS mc_command_boot(struct mc_session *session);
EFI_STATUS mc_command_menu(struct mc_session *session);
EFI_STATUS mc_command_bench(struct mc_session *session);
EFI_STATUS mc_command_install(struct mc_session *session);
EFI_STATUS mc_command_uninstall(struct mc_session *session);

/* Say session->fault; returns what the program returns for it. */
EFI_STATUS mc_session_fail(struct mc_session *session);

/* Ask the driver for a disk's record; false: there is none. */
bool mc_session_get(struct mc_session *session, UINTN index);
bool mc_session_find(struct mc_session *session, uint32_t number);

/* Read names and options of the command line into session->image; the files must be on one volume.
 *
 * Q2_ERR_ARGUMENT     a word that an option does not know
 * Q2_ERR_UNSUPPORTED  files on different volumes
 * Q2_ERR_NOT_FOUND, Q2_ERR_BAD_NAME, Q2_ERR_LIMIT
 */
enum q2_status mc_image_arguments_get(struct mc_session *session);

/* Read the operand into session->image: the name of an image with its options, or the number of an
 * attached disk, which stands for its image file. Errors as mc_image_arguments_get(). */
enum q2_status mc_session_image(struct mc_session *session);

/* Free what session->image has. May be called twice, and before mc_image_arguments_get(). */
void mc_image_arguments_free(struct mc_session *session);

#endif
