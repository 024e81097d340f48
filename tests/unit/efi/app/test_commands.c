/* The command line of the application: a command runs only if it takes every word that was said.
 * The commands are made here; they note that they ran. */
#include "efi/app/commands.h"

#include "efi/base/firmware.h"
#include "tests/support/efi_pool.h"
#include "tests/support/t.h"

static struct {
    const char *ran; /* the command; NULL: none did */
    char text[8192]; /* what was printed */
    size_t length;
} seen;

#define COMMAND(name)                                                                              \
    EFI_STATUS mc_command_##name(struct mc_session *session)                                       \
    {                                                                                              \
        (void)session;                                                                             \
        seen.ran = #name;                                                                          \
        return EFI_SUCCESS;                                                                        \
    }

COMMAND(attach)
COMMAND(list)
COMMAND(detach)
COMMAND(info)
COMMAND(map)
COMMAND(check)
COMMAND(boot)
COMMAND(menu)
COMMAND(bench)
COMMAND(install)
COMMAND(uninstall)

enum q2_status mc_client_open(struct mc_client *client, bool load, struct q2_fault *fault)
{
    (void)client;
    (void)load;
    (void)fault;
    return Q2_ERR_NOT_FOUND;
}

static EFI_STATUS EFIAPI output(SIMPLE_TEXT_OUTPUT_INTERFACE *This, CHAR16 *text)
{
    (void)This;
    for (; *text != 0 && seen.length + 1 < sizeof(seen.text); text++)
        seen.text[seen.length++] = (char)*text;
    return EFI_SUCCESS;
}

/* Run a line of words that blanks separate. */
static EFI_STATUS run(const char *line)
{
    static EFI_BOOT_SERVICES services = {
        .AllocatePool = allocate_pool, .FreePool = free_pool, .SetMem = set_mem};
    static SIMPLE_TEXT_OUTPUT_INTERFACE console = {.OutputString = output};
    static EFI_SYSTEM_TABLE table = {.BootServices = &services, .ConOut = &console};
    struct mc_arguments arguments = {.from_shell = true};
    char words[256];

    memset(&seen, 0, sizeof(seen));
    mc_firmware_init(NULL, &table);
    (void)snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        arguments.words[arguments.nb++] = word;
    return mc_command_run(&arguments);
}

static void test_command_line_that_is_understood_runs(void)
{
    static const struct {
        const char *line, *command;
    } rows[] = {
        {"", "boot"},
        {"boot", "boot"},
        {"boot debian", "boot"},
        {"boot --disk 1", "boot"},
        {"menu", "menu"},
        {"list", "list"},
        {"detach all", "detach"},
        {"attach a --mode rw --room 1M --snapshot s --handoff none", "attach"},
        {"attach a --mode=rw --room=1M --backing-file=b --backing-file c", "attach"},
        {"attach a --backing-file b --backing-file c --data-file d", "attach"},
        {"boot --disk=1", "boot"},
        {"map a --data-file b", "map"},
        {"info a --backing-chain --format raw", "info"},
        {"check a -r leaks --format qcow2", "check"},
        {"bench a --beside b --rounds 3 --row x", "bench"},
        {"bench a --write scratch --room 1M", "bench"},
        {"install a --boot", "install"},
        {"uninstall --boot", "uninstall"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].line);
        T_CHECK_U64(run(rows[i].line), EFI_SUCCESS);
        T_CHECK(seen.ran && strcmp(seen.ran, rows[i].command) == 0);
        T_CHECK_STR(seen.text, "");
    }
}

/* Who says "boot debian --mode ro" must not get a disk that is written. */
static void test_command_line_with_a_word_that_the_command_does_not_take_does_not_run(void)
{
    static const char of_another[] = "this command does not have this option; see 'metalcow help'";
    static const char no_word[] = "this command takes no such word; see 'metalcow help'";
    static const struct {
        const char *line, *word, *why;
    } rows[] = {
        {"boot debian --mode ro", "--mode", of_another},
        {"boot --snapshot clean debian", "--snapshot", of_another},
        {"menu --mode overlay", "--mode", of_another},
        {"detach 1 --names none", "--names", of_another},
        {"list --disk 1", "--disk", of_another},
        {"install --mode rw", "--mode", of_another},
        {"attach a --disk 1", "--disk", of_another},
        {"attach a -r all", "-r", of_another},
        {"check a --backing-chain", "--backing-chain", of_another},
        {"info a --boot", "--boot", of_another},
        {"map a --write scratch", "--write", of_another},
        {"check a --rounds 2", "--rounds", of_another},
        {"info a --row x", "--row", of_another},
        {"attach a --beside b", "--beside", of_another},
        {"help --boot", "--boot", of_another},
        {"menu --mode=overlay", "--mode", of_another},
        {"install --boot=1", "--boot", "this option takes no value"},
        {"list debian", "debian", no_word},
        {"menu debian", "debian", no_word},
        {"boot debian --disk 1", "debian",
         "an entry and a disk cannot both be started; say one of them"},
    };
    char text[256];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].line);
        T_CHECK_U64(run(rows[i].line), EFI_INVALID_PARAMETER);
        T_CHECK(!seen.ran);
        (void)snprintf(text, sizeof(text), "metalcow: %s: %s\r\n", rows[i].word, rows[i].why);
        T_CHECK_STR(seen.text, text);
    }
}

static void test_command_line_help_is_shown_however_it_is_asked_for(void)
{
    static const char *const lines[] = {"help", "help attach", "--help", "attach --help",
                                        "boot debian --help"};

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        t_row(lines[i]);
        T_CHECK_U64(run(lines[i]), EFI_SUCCESS);
        T_CHECK(!seen.ran && strstr(seen.text, "metalcow attach IMAGE"));
    }
}

int main(void)
{
    T_RUN(test_command_line_that_is_understood_runs);
    T_RUN(test_command_line_with_a_word_that_the_command_does_not_take_does_not_run);
    T_RUN(test_command_line_help_is_shown_however_it_is_asked_for);
    return t_done();
}
