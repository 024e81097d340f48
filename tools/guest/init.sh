#!/bin/busybox sh
# /init of the test guest: the whole userland. It says that the guest is up, with the token that
# only the boot loader's configuration inside the guest's own disk holds, and powers off.

/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null

token=none
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in
    metalcow.token=*) token=${word#metalcow.token=} ;;
    esac
done

# What was measured until now, if there is a TPM.
for pcr in /sys/class/tpm/tpm0/pcr-sha256/*; do
    [ -e "$pcr" ] && echo "METALCOW-GUEST-PCR ${pcr##*/} $(/bin/busybox cat "$pcr")"
done

# A line of its own, whatever the console printed before.
echo
echo "METALCOW-GUEST-UP $token"
/bin/busybox poweroff -f
