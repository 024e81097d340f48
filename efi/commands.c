/* The command line: which command, which options.
 *
 * Between app_main.c and the commands. Invariant: a command runs only if every word was understood.
 */
#include "commands.h"

#include "../drivers/efi_status.h"
#include "console.h"
#include "fail.h"
#include "firmware.h"

static EFI_STATUS help(const struct mc_command_line *line);

static const struct mc_command commands[] = {
    {"attach",
     "IMAGE [--data-file FILE] [--backing-file FILE] [--snapshot NAME]\n"
     "         [--names below|none|any] [--format qcow2|raw]",
     "publish an image as a disk", true, mc_command_attach},
    {"list", "", "show the attached disks", false, mc_command_list},
    {"detach", "NUMBER|all", "take a disk away", true, mc_command_detach},
    {"info", "IMAGE|NUMBER", "show what an image is", true, mc_command_info},
    {"boot", "[ENTRY] [--disk NUMBER]", "start an entry, or an attached disk", false,
     mc_command_boot},
    {"help", "", "show this", false, help},
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Options: each takes the next word. */
static const struct option {
    const char *name;
    size_t offset; /* of its member in struct mc_command_line */
} options[] = {
    {"--data-file", offsetof(struct mc_command_line, data_file)},
    {"--backing-file", offsetof(struct mc_command_line, backing_file)},
    {"--snapshot", offsetof(struct mc_command_line, snapshot)},
    {"--entry", offsetof(struct mc_command_line, entry)},
    {"--disk", offsetof(struct mc_command_line, disk)},
    {"--names", offsetof(struct mc_command_line, names)},
    {"--format", offsetof(struct mc_command_line, format)},
};

static EFI_STATUS help(const struct mc_command_line *line)
{
    (void)line;
    mc_print("metalcow: qcow2 images as disks\n\n"
             "  metalcow\n      start the default entry of \\metalcow\\entries\n");
    for (size_t i = 0; i < NB_COMMANDS; i++) {
        mc_print("  metalcow ");
        mc_print(commands[i].name);
        mc_print(" ");
        mc_print(commands[i].synopsis);
        mc_print("\n      ");
        mc_print(commands[i].help);
        mc_print("\n");
    }
    return EFI_SUCCESS;
}

EFI_STATUS mc_command_fail(const struct q2_fault *fault)
{
    mc_say_fault(fault);
    return q2_efi_from_status(fault->status);
}

bool mc_number_parse(const char *word, uint32_t *ret_number)
{
    uint32_t number = 0;

    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9' || number > (UINT32_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint32_t)(*word - '0');
    }
    *ret_number = number;
    return true;
}

/* Where an option's value belongs; NULL: no such option. */
static const char **member_of(struct mc_command_line *line, const char *word)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (mc_text_equal(options[i].name, word))
            return (const char **)(void *)((char *)line + options[i].offset);
    }
    return NULL;
}

static enum q2_status parse(const struct mc_arguments *arguments, struct q2_fault *fault,
                            struct mc_command_line *line)
{
    *line = (struct mc_command_line){.operand = NULL};
    for (size_t i = 1; i < arguments->nb; i++) {
        const char *word = arguments->words[i];
        const char **value = &line->operand;
        if (word[0] == '-') {
            value = member_of(line, word);
            if (!value)
                return mc_fail(fault, Q2_ERR_ARGUMENT, "no such option", word);
            if (++i == arguments->nb)
                return mc_fail(fault, Q2_ERR_ARGUMENT, "this option needs a value", word);
        }
        if (*value)
            return mc_fail(fault, Q2_ERR_ARGUMENT, "one too many", arguments->words[i]);
        *value = arguments->words[i];
    }
    return Q2_OK;
}

EFI_STATUS mc_command_run(const struct mc_arguments *arguments)
{
    const struct mc_command_line nothing = {.operand = NULL};
    struct mc_command_line line;
    struct q2_fault fault;

    if (arguments->nb == 0)
        return mc_command_boot(&nothing);
    for (size_t i = 0; i < NB_COMMANDS; i++) {
        if (!mc_text_equal(commands[i].name, arguments->words[0]))
            continue;
        if (parse(arguments, &fault, &line) != Q2_OK)
            return mc_command_fail(&fault);
        if (commands[i].needs_operand && !line.operand) {
            (void)mc_fail(&fault, Q2_ERR_ARGUMENT, "what? see 'metalcow help'", commands[i].name);
            return mc_command_fail(&fault);
        }
        return commands[i].run(&line);
    }
    (void)mc_fail(&fault, Q2_ERR_ARGUMENT, "no such command; see 'metalcow help'",
                  arguments->words[0]);
    return mc_command_fail(&fault);
}
