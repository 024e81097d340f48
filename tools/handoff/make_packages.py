#!/usr/bin/python3
"""Make the Debian package for people who prepare their guests: metalcow-handoff.

    make_packages.py --program build/linux/handoff --version 0.1 --out build/packages

It puts the program and hooks into the guest's initrd (initramfs-tools or dracut), and the modules
that they need. Without the EFI variable that the firmware sets (include/q2_handoff.h, at its end)
the program ends at once: a guest that starts elsewhere does not notice it.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

CONTROL = """Package: metalcow-handoff
Version: {version}
Architecture: amd64
Maintainer: metalcow maintainers <maintainers@example.org>
Section: admin
Priority: optional
Recommends: initramfs-tools | dracut
Description: keep the disk after a start from a disk image by metalcow
 Puts a program into the initrd that gives the running system the disk image
 that metalcow started it from. Does nothing on any other machine.
"""

# Both makers of initrds in Debian make it again when they see this.
TRIGGERS = "activate-noawait update-initramfs\n"

MODULES = "nbd loop dm-mod efivarfs"

INITRAMFS_HOOK = f"""#!/bin/sh
# The program, and the modules that it loads.
case "$1" in
prereqs)
    exit 0
    ;;
esac
. /usr/share/initramfs-tools/hook-functions
mkdir -p "$DESTDIR/metalcow"
cp -p /usr/lib/metalcow/handoff "$DESTDIR/metalcow/handoff"
for module in {MODULES}; do
    manual_add_modules "$module"
done
"""

INITRAMFS_SCRIPT = """#!/bin/sh
# Before udev: the program goes to the background and waits for the disk itself.
case "$1" in
prereqs)
    exit 0
    ;;
esac
/metalcow/handoff start
"""

DRACUT_SETUP = f"""#!/bin/bash
# The program, and the modules that it loads.
check() {{ return 0; }}
depends() {{ return 0; }}
installkernel() {{ hostonly='' instmods {MODULES}; }}
install() {{
    inst_simple /usr/lib/metalcow/handoff /metalcow/handoff
    inst_hook pre-udev 00 "$moddir/start.sh"
}}
"""

DRACUT_HOOK = "#!/bin/sh\n/metalcow/handoff start\n"

FILES = {
    "usr/share/initramfs-tools/hooks/metalcow-handoff": (INITRAMFS_HOOK, 0o755),
    "usr/share/initramfs-tools/scripts/init-top/metalcow-handoff": (INITRAMFS_SCRIPT, 0o755),
    "usr/lib/dracut/modules.d/90metalcow-handoff/module-setup.sh": (DRACUT_SETUP, 0o755),
    "usr/lib/dracut/modules.d/90metalcow-handoff/start.sh": (DRACUT_HOOK, 0o755),
    "DEBIAN/triggers": (TRIGGERS, 0o644),
}


def put(root, name, text, mode):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    path.chmod(mode)


def make_package(program, version, out):
    """Write the package; return its path."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"metalcow-handoff_{version}_amd64.deb"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        root = pathlib.Path(folder) / "root"
        put(root, "DEBIAN/control", CONTROL.format(version=version), 0o644)
        for name, (text, mode) in FILES.items():
            put(root, name, text, mode)
        place = root / "usr/lib/metalcow/handoff"
        place.parent.mkdir(parents=True)
        shutil.copyfile(program, place)
        place.chmod(0o755)
        for path in [root, *root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, target],
                       check=True, stdout=subprocess.DEVNULL)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    try:
        print(make_package(args.program, args.version, args.out))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"make_packages: {error}")


if __name__ == "__main__":
    main()
