/* What metalcow.efi can be told to do.
 *
 * Called by app_main.c. Each command prints what it has to say, errors included.
 */
#ifndef METALCOW_EFI_COMMANDS_H
#define METALCOW_EFI_COMMANDS_H

#include "arguments.h"
#include "control.h"

/* A command line, read. Strings point into the arguments or are NULL. */
struct mc_command_line {
    const char *operand; /* the word that is no option */
    const char *data_file, *backing_file, *snapshot, *entry, *disk, *names, *format;
};

struct mc_command {
    const char *name;
    const char *synopsis; /* behind the name */
    const char *help;
    bool needs_operand;
    EFI_STATUS (*run)(const struct mc_command_line *line);
};

/* Run the command in arguments->words[0]; the entry of the configuration if there is none. */
EFI_STATUS mc_command_run(const struct mc_arguments *arguments);

/* The commands, one file each but for the small ones. */
EFI_STATUS mc_command_attach(const struct mc_command_line *line);
EFI_STATUS mc_command_list(const struct mc_command_line *line);
EFI_STATUS mc_command_detach(const struct mc_command_line *line);
EFI_STATUS mc_command_info(const struct mc_command_line *line);
EFI_STATUS mc_command_boot(const struct mc_command_line *line);

/* What a command line says of an image, with paths resolved. */
struct mc_image_arguments {
    struct mc_attach_options options;
    struct mc_location image, data_file, backing_file;
};

/* Read names and options; the volumes must be one.
 *
 * Q2_ERR_ARGUMENT  a word that an option does not know
 * Q2_ERR_UNSUPPORTED  files on different volumes
 */
enum q2_status mc_image_arguments_get(const struct mc_command_line *line, struct q2_fault *fault,
                                      struct mc_image_arguments *ret_image);
void mc_image_arguments_free(struct mc_image_arguments *image);

/* Say a fault and turn it into what the program returns. */
EFI_STATUS mc_command_fail(const struct q2_fault *fault);

/* A decimal number; false: it is none. */
bool mc_number_parse(const char *word, uint32_t *ret_number);

#endif
