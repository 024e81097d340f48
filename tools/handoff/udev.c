/* Rules for the guest's udev: LVM may use the partitions of our loop device.
 *
 * LVM's own rules (69-lvm.rules) scan no partition of a loop device unless the variable
 * LVM_LOOP_PV_ACTIVATED is set, so a root on a logical volume would never appear. udev reads its
 * rules when it starts. In the initrd that is before the loop device's number is known, so the rule
 * there asks for a file. The rule for the system itself has the number; it is stored below /run,
 * which the system takes over.
 *
 * May call file_write(). Invariant: a rule is for our device only, since other loop devices of the
 * guest are none of our business. A failure is ignored: only LVM needs the rules.
 */
#include <stdio.h>

#include "handoff.h"

#define RULES_NAME "/68-metalcow.rules" /* before 69-lvm.rules */
#define FLAGS      "/metalcow"

void udev_prepare(void)
{
    file_write("/etc/udev/rules.d", RULES_NAME,
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
    file_write(FLAGS, name, "");
    file_write("/run/udev/rules.d", RULES_NAME, rule);
}
