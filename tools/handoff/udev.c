/* Rules for the guest's udev: LVM may use the partitions of our loop device.
 *
 * LVM's own rules (69-lvm.rules) scan no partition of a loop device unless the variable
 * LVM_LOOP_PV_ACTIVATED is set, so a root on a logical volume would never appear. udev reads its
 * rules when it starts. In the initrd that is before the loop device's number is known, so the rule
 * there asks for a file. The rule for the system itself has the number; it is stored below /run,
 * which the system takes over.
 *
 * May call the C library. Invariant: a rule is for our device only, since other loop devices of the
 * guest are none of our business. A failure is ignored: only LVM needs the rules.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"

#define RULES_NAME "/68-metalcow.rules" /* before 69-lvm.rules */
#define FLAGS      "/metalcow"

/* Write a file; its folders are made. */
static void write_file(const char *folder, const char *name, const char *text)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s", folder);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof(path), "%s%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    (void)!write(fd, text, strlen(text));
    (void)close(fd);
}

void udev_prepare(void)
{
    write_file("/etc/udev/rules.d", RULES_NAME,
               "SUBSYSTEM==\"block\", KERNEL==\"loop*p*\", TEST==\"" FLAGS
               "/%P\", ENV{LVM_LOOP_PV_ACTIVATED}=\"1\"\n");
}

void udev_announce_loop(int number)
{
    char name[32], rule[128];

    (void)snprintf(name, sizeof(name), "/loop%d", number);
    (void)snprintf(rule, sizeof(rule),
                   "SUBSYSTEM==\"block\", KERNEL==\"loop%dp*\", ENV{LVM_LOOP_PV_ACTIVATED}=\"1\"\n",
                   number);
    write_file(FLAGS, name, "");
    write_file("/run/udev/rules.d", RULES_NAME, rule);
}
