/* Run a command and write its peak memory to a file. A child of a Python program counts the memory
 * of Python from before exec(); a child of this one counts a few hundred KiB.
 *
 *     peak FILE SECONDS COMMAND ...     SECONDS: the command is ended then
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage usage;
    int status;
    FILE *file;
    pid_t child;

    if (argc < 4)
        return 2;
    child = fork();
    if (child == 0) {
        (void)alarm((unsigned int)strtoul(argv[2], NULL, 10));
        (void)execvp(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child)
        return 2;
    file = fopen(argv[1], "w");
    if (!file || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0)
        return 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
