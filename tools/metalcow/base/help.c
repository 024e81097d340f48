/* Help of the host command. May call the tables and stdio. */
#include "help.h"

#include <stdio.h>
#include <string.h>

#include "tools/metalcow/options.h"

#define HELP_COLUMN 31u /* where texts begin */
#define HELP_WIDTH  80u

static void print_indent(void)
{
    printf("\n%*s", (int)HELP_COLUMN, "");
}

/* Print text from HELP_COLUMN on, broken at spaces. */
static void print_wrapped(const char *text)
{
    size_t at = HELP_COLUMN;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            print_indent();
            at = HELP_COLUMN;
        } else if (at > HELP_COLUMN) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)n, text);
        at += n;
        text += n + strspn(text + n, " ");
    }
    putchar('\n');
}

static void print_option(const struct option_row *row)
{
    char left[64];
    int length;

    if (row->letter && row->name)
        length = snprintf(left, sizeof(left), "  -%c, --%s", row->letter, row->name);
    else if (row->letter)
        length = snprintf(left, sizeof(left), "  -%c", row->letter);
    else
        length = snprintf(left, sizeof(left), "      --%s", row->name);
    if (option_value(row))
        length += snprintf(left + length, sizeof(left) - (size_t)length, "%s%s",
                           row->name ? "=" : " ", option_value(row));
    if ((unsigned)length < HELP_COLUMN)
        printf("%-*s", (int)HELP_COLUMN, left);
    else
        printf("%s\n%*s", left, (int)HELP_COLUMN, "");
    print_wrapped(row->text);
}

void help_verb(const struct verb *verb)
{
    printf("usage: metalcow %s [options] %s\n\n%s\n\noptions:\n", verb->name, verb->operands,
           verb->summary);
    for (size_t i = 0; i < nb_option_rows; i++) {
        if ((option_rows[i].verbs & verb_bit(verb)) != 0)
            print_option(&option_rows[i]);
    }
}

void help_all(void)
{
    puts("usage: metalcow VERB [options] ...\n\n"
         "Reads and writes qcow2 and raw disk images; verbs, options and exit codes are those of "
         "qemu-img.\n"
         "\nverbs:");
    for (size_t i = 0; i < NB_VERBS; i++)
        printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
    puts("\n'metalcow help VERB' or 'metalcow VERB --help' lists a verb's options.\n"
         "Sizes and offsets are bytes, or carry a suffix k, M, G, T, P or E (powers of 1024).\n"
         "The suffix may be in lower or upper case.");
}

static void list_option(const struct verb *verb, const struct option_row *row)
{
    char letter[3] = "";

    if (row->letter)
        (void)snprintf(letter, sizeof(letter), "-%c", row->letter);
    printf("option\t%s\t%s\t%s%s\t%s\t%s\n", verb->name, letter, row->name ? "--" : "",
           row->name ? row->name : "", option_value(row) ? option_value(row) : "", row->text);
}

void help_list(void)
{
    for (size_t i = 0; i < NB_VERBS; i++) {
        printf("verb\t%s\t%s\t%s\n", verbs[i].name, verbs[i].operands, verbs[i].summary);
        for (size_t j = 0; j < nb_option_rows; j++) {
            if ((option_rows[j].verbs & verb_bit(&verbs[i])) != 0)
                list_option(&verbs[i], &option_rows[j]);
        }
    }
}
