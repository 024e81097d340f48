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

/* What a command takes. */
enum {
    WORD = 1,   /* a word that is no option */
    NEEDED = 2, /* it must be there */
    KEYS = 4,   /* the options of mc_spec_keys */
    DISK = 8,   /* the options below, by name */
    BENCH = 16,
    REPAIR = 32,
    CHAIN = 64,
    BOOT = 128,
    IMAGE = WORD | NEEDED | KEYS,
};

struct command {
    const char *name;
    const char *synopsis; /* after the name */
    const char *help;
    uint32_t takes;
    EFI_STATUS (*run)(struct mc_session *session);
};

static const struct command commands[] = {
    {"attach",
     "IMAGE [--data-file FILE] [--backing-file FILE] [--snapshot NAME]\n"
     "         [--names below|none|any] [--backing-format raw|qcow2]\n"
     "         [--format qcow2|raw] [--passphrase-file FILE] [--key-file FILE]\n"
     "         [--mode ro|rw|overlay] [--room SIZE] [--overlay-size SIZE]",
     "publish an image as a disk", IMAGE, mc_command_attach},
    {"list", "", "show the attached disks", 0, mc_command_list},
    {"detach", "NUMBER|all", "take a disk away", WORD | NEEDED, mc_command_detach},
    {"info", "IMAGE|NUMBER [--backing-chain]",
     "show what an image is, and with all its files what they are read through", IMAGE | CHAIN,
     mc_command_info},
    {"map", "IMAGE [options of attach]", "show which file has which part of the disk", IMAGE,
     mc_command_map},
    {"check", "IMAGE|NUMBER [-r leaks|all]",
     "check the consistency of an image; -r: repair one that is not attached", IMAGE | REPAIR,
     mc_command_check},
    {"boot", "[ENTRY] [--disk NUMBER]", "start an entry, or an attached disk", WORD | DISK,
     mc_command_boot},
    {"menu", "", "choose an entry and how it is started", 0, mc_command_menu},
    {"bench",
     "IMAGE|NUMBER [--rounds N] [--beside IMAGE] [--row NAME]\n"
     "         IMAGE --write scratch [--rounds N] [--room SIZE]",
     "time a disk beside other ways to the same bytes; --write: the image is overwritten",
     IMAGE | BENCH, mc_command_bench},
    {"install", "[FILE] [--boot]",
     "have the firmware load the driver at each boot; --boot: start the application", WORD | BOOT,
     mc_command_install},
    {"uninstall", "[FILE] [--boot]", "take out what install has made", WORD | BOOT,
     mc_command_uninstall},
    {"help", "", "show this", WORD, help},
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Options of commands, beside those that say something of a disk (mc_spec_keys). Each takes the
 * next word, or none. */
static const struct option {
    const char *name;
    size_t offset; /* of its member in struct mc_command_line */
    uint32_t of;   /* commands that take this */
    bool is_flag;  /* it takes none: its member gets the option's own name */
} options[] = {
    {"--disk", offsetof(struct mc_command_line, disk), DISK, false},
    {"--rounds", offsetof(struct mc_command_line, rounds), BENCH, false},
    {"--row", offsetof(struct mc_command_line, row), BENCH, false},
    {"--beside", offsetof(struct mc_command_line, beside), BENCH, false},
    {"--write", offsetof(struct mc_command_line, write), BENCH, false},
    {"-r", offsetof(struct mc_command_line, repair), REPAIR, false},
    {"--backing-chain", offsetof(struct mc_command_line, backing_chain), CHAIN, true},
    {"--boot", offsetof(struct mc_command_line, boot), BOOT, true},
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
    uint32_t takes; /* of the command */
    size_t at;      /* the word that is being taken */
    char *value;    /* what follows "=" in it; NULL: nothing */
    uint64_t seen;  /* bit i: mc_spec_keys[i] was given */
};

/* Cut a word such as "--mode=ro" in two. */
static void cut_value(struct parsing *p, char *word)
{
    char *end = word;

    p->value = NULL;
    while (*end != '\0' && *end != '=')
        end++;
    if (word[1] != '-' || *end == '\0')
        return;
    *end = '\0';
    p->value = end + 1;
}

/* Take the value of an option: after its "=", or the next word. NULL: there is none, and the fault
 * says so. */
static const char *take_value(struct parsing *p)
{
    const char *option = p->arguments->words[p->at];

    if (p->value)
        return p->value;
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
    char *word = p->arguments->words[p->at];
    const struct mc_spec_key *key;
    const struct option *option;
    const char *value = word;

    cut_value(p, word);
    key = mc_spec_find_option(word);
    option = find_option(word);
    if (!key && !option)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT, "no such option; see 'metalcow help'",
                       word);
    if ((p->takes & (key ? (uint32_t)KEYS : option->of)) == 0)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT,
                       "this command does not have this option; see 'metalcow help'", word);
    if (key)
        return take_key(p, key);
    if (option->is_flag && p->value)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT, "this option takes no value", word);
    if (!option->is_flag)
        value = take_value(p);
    if (!value)
        return Q2_ERR_ARGUMENT;
    return set_once(p, (const char **)(void *)((char *)&p->session->line + option->offset), value);
}

/* A word that is no option. */
static enum q2_status take_word(struct parsing *p)
{
    const char *word = p->arguments->words[p->at];

    if ((p->takes & WORD) == 0)
        return q2_fail(&p->session->fault, Q2_ERR_ARGUMENT,
                       "this command takes no such word; see 'metalcow help'", word);
    return set_once(p, &p->session->line.operand, word);
}

static enum q2_status parse(const struct mc_arguments *arguments, const struct command *command,
                            struct mc_session *session)
{
    struct parsing p = {.session = session, .arguments = arguments, .takes = command->takes};
    const struct mc_command_line *line = &session->line;
    enum q2_status status = Q2_OK;

    for (p.at = 1; p.at < arguments->nb && status == Q2_OK; p.at++)
        status = arguments->words[p.at][0] == '-' ? take_option(&p) : take_word(&p);
    if (status != Q2_OK)
        return status;
    if ((command->takes & NEEDED) != 0 && !line->operand)
        return q2_fail(&session->fault, Q2_ERR_ARGUMENT,
                       "this command needs an image or a disk number; see 'metalcow help'",
                       command->name);
    if (line->disk && line->operand)
        return q2_fail(&session->fault, Q2_ERR_ARGUMENT,
                       "an entry and a disk cannot both be started; say one of them",
                       line->operand);
    return Q2_OK;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < NB_COMMANDS; i++) {
        if (q2_text_equal(commands[i].name, name))
            return &commands[i];
    }
    return NULL;
}

static bool wants_help(const struct mc_arguments *arguments)
{
    size_t i = 0;

    while (i < arguments->nb && !q2_text_equal(arguments->words[i], "--help"))
        i++;
    return i < arguments->nb;
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
    if (wants_help(arguments))
        return help(session);
    command = find_command(arguments->words[0]);
    if (!command) {
        (void)q2_fail(&session->fault, Q2_ERR_ARGUMENT, "no such command; see 'metalcow help'",
                      arguments->words[0]);
        return mc_session_fail(session);
    }
    if (parse(arguments, command, session) != Q2_OK)
        return mc_session_fail(session);
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
