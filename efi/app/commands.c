/* The command line: finds the command and reads its options.
 *
 * May call the commands. Invariant: a command runs only if every word was understood.
 */
#include "commands.h"

#include "drivers/efi/status.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

static EFI_STATUS help(struct mc_session *session);

struct command {
    const char *name;
    const char *synopsis; /* after the name */
    const char *help;
    bool needs_operand;
    EFI_STATUS (*run)(struct mc_session *session);
};

static const struct command commands[] = {
    {"attach",
     "IMAGE [--data-file FILE] [--backing-file FILE] [--snapshot NAME]\n"
     "         [--names below|none|any] [--backing-format raw|qcow2]\n"
     "         [--format qcow2|raw] [--passphrase-file FILE] [--key-file FILE]\n"
     "         [--mode ro|rw|overlay] [--room SIZE] [--overlay-size SIZE]",
     "publish an image as a disk", true, mc_command_attach},
    {"list", "", "show the attached disks", false, mc_command_list},
    {"detach", "NUMBER|all", "take a disk away", true, mc_command_detach},
    {"info", "IMAGE|NUMBER [--backing-chain]",
     "show what an image is, and with all its files what they are read through", true,
     mc_command_info},
    {"map", "IMAGE [options of attach]", "show which file has which part of the disk", true,
     mc_command_map},
    {"check", "IMAGE|NUMBER [-r leaks|all]",
     "check the consistency of an image; -r: repair one that is not attached", true,
     mc_command_check},
    {"boot", "[ENTRY] [--disk NUMBER]", "start an entry, or an attached disk", false,
     mc_command_boot},
    {"menu", "", "choose an entry and how it is started", false, mc_command_menu},
    {"bench",
     "IMAGE|NUMBER [--rounds N] [--beside IMAGE] [--row NAME]\n"
     "         IMAGE --write scratch [--rounds N] [--room SIZE]",
     "time a disk beside other ways to the same bytes; --write: the image is overwritten", true,
     mc_command_bench},
    {"install", "[FILE] [--boot]",
     "have the firmware load the driver at each boot; --boot: start the application", false,
     mc_command_install},
    {"uninstall", "[FILE] [--boot]", "take out what install has made", false, mc_command_uninstall},
    {"help", "", "show this", false, help},
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Options of commands, beside those that say something of a disk (mc_spec_keys). Each takes the
 * next word, or none. */
static const struct option {
    const char *name;
    size_t offset; /* of its member in struct mc_command_line */
    bool is_flag;  /* it takes none: its member gets the option's own name */
} options[] = {
    {"--disk", offsetof(struct mc_command_line, disk), false},
    {"--rounds", offsetof(struct mc_command_line, rounds), false},
    {"--row", offsetof(struct mc_command_line, row), false},
    {"--beside", offsetof(struct mc_command_line, beside), false},
    {"--write", offsetof(struct mc_command_line, write), false},
    {"-r", offsetof(struct mc_command_line, repair), false},
    {"--backing-chain", offsetof(struct mc_command_line, backing_chain), true},
    {"--boot", offsetof(struct mc_command_line, boot), true},
};

static EFI_STATUS help(struct mc_session *session)
{
    (void)session;
    mc_print(
        "metalcow: qcow2 images as disks\n\n"
        "  metalcow\n      start an entry of \\metalcow\\entries: the default, or from the menu\n");
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

EFI_STATUS mc_session_fail(struct mc_session *session)
{
    mc_say_fault(&session->fault);
    return q2_efi_from_status(session->fault.status);
}

bool mc_session_get(struct mc_session *session, UINTN index)
{
    struct mc_control *control = session->client.control;

    return !EFI_ERROR(control->Get(control, index, &session->record));
}

bool mc_session_find(struct mc_session *session, uint32_t number)
{
    for (UINTN i = 0; mc_session_get(session, i); i++) {
        if (session->record.number == number)
            return true;
    }
    return false;
}

static const struct option *find_option(const char *word)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (q2_text_equal(options[i].name, word))
            return &options[i];
    }
    return NULL;
}

/* A command line while it is read. */
struct parsing {
    struct mc_session *session;
    const struct mc_arguments *arguments;
    size_t at;     /* the word that is being taken */
    uint64_t seen; /* bit i: mc_spec_keys[i] was given */
};

/* Take the word after an option. NULL: there is none, and the fault says so. */
static const char *take_value(struct parsing *p)
{
    const char *option = p->arguments->words[p->at];

    if (++p->at < p->arguments->nb)
        return p->arguments->words[p->at];
    (void)q2_fail(&p->session->fault, Q2_ERR_ARGUMENT,
                  "this option needs a value; see 'metalcow help'", option);
    return NULL;
}

static enum q2_status set_once(struct parsing *p, const char **to, const char *value)
{
    if (*to)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT,
                       "this option is given twice; give it once", p->arguments->words[p->at]);
    *to = value;
    return Q2_OK;
}

/* An option that says something of the disk. */
static enum q2_status take_key(struct parsing *p, const struct mc_spec_key *key)
{
    uint64_t bit = 1ull << (key - mc_spec_keys);
    const char *value = take_value(p), *refusal;

    if (!value)
        return Q2_ERR_ARGUMENT;
    if ((p->seen & bit) != 0 && key->kind != MC_SPEC_PATHS)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT,
                       "this option is given twice; give it once", key->option);
    p->seen |= bit;
    refusal = mc_spec_set(&p->session->image.spec, key, value, q2_text_length(value), NULL);
    return refusal ? q2_fail(&p->session->fault, Q2_ERR_ARGUMENT, refusal, key->option) : Q2_OK;
}

static enum q2_status take_option(struct parsing *p)
{
    const char *word = p->arguments->words[p->at];
    const struct mc_spec_key *key = mc_spec_find_option(word);
    const struct option *option = find_option(word);
    const char *value = word;

    if (key)
        return take_key(p, key);
    if (!option)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT, "no such option; see 'metalcow help'",
                       word);
    if (!option->is_flag)
        value = take_value(p);
    if (!value)
        return Q2_ERR_ARGUMENT;
    return set_once(p, (const char **)(void *)((char *)&p->session->line + option->offset), value);
}

static enum q2_status parse(const struct mc_arguments *arguments, struct mc_session *session)
{
    struct parsing p = {.session = session, .arguments = arguments};
    enum q2_status status = Q2_OK;

    for (p.at = 1; p.at < arguments->nb && status == Q2_OK; p.at++) {
        const char *word = arguments->words[p.at];
        status = word[0] == '-' ? take_option(&p) : set_once(&p, &session->line.operand, word);
    }
    return status;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < NB_COMMANDS; i++) {
        if (q2_text_equal(commands[i].name, name))
            return &commands[i];
    }
    return NULL;
}

/* Flush all disks of mode rw, so that a command which opens their files sees current data. */
static void flush_disks(struct mc_session *session)
{
    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return;
    for (UINTN i = 0; mc_session_get(session, i); i++) {
        EFI_BLOCK_IO_PROTOCOL *disk = mc_protocol(session->record.handle, &mc_block_io_guid);
        if (disk && session->record.mode == MC_MODE_READ_WRITE)
            (void)disk->FlushBlocks(disk); /* a failure is in the record: it turned read-only */
    }
}

static EFI_STATUS run(const struct mc_arguments *arguments, struct mc_session *session)
{
    const struct command *command;

    if (arguments->nb == 0)
        return mc_command_boot(session);
    command = find_command(arguments->words[0]);
    if (!command) {
        (void)q2_fail(&session->fault, Q2_ERR_ARGUMENT, "no such command; see 'metalcow help'",
                      arguments->words[0]);
        return mc_session_fail(session);
    }
    if (parse(arguments, session) != Q2_OK)
        return mc_session_fail(session);
    if (command->needs_operand && !session->line.operand) {
        (void)q2_fail(&session->fault, Q2_ERR_ARGUMENT,
                      "this command needs an image or a disk number; see 'metalcow help'",
                      command->name);
        return mc_session_fail(session);
    }
    flush_disks(session);
    return command->run(session);
}

EFI_STATUS mc_command_run(const struct mc_arguments *arguments)
{
    struct mc_session *session = mc_alloc(sizeof(*session));
    EFI_STATUS status;

    if (!session) {
        mc_say("the firmware has no memory left; restart the machine");
        return EFI_OUT_OF_RESOURCES;
    }
    mc_spec_init(&session->image.spec);
    session->from_shell = arguments->from_shell;
    status = run(arguments, session);
    mc_free(session);
    return status;
}
