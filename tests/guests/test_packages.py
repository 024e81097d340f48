#!/usr/bin/python3
"""The package for prepared guests: what is in it, and that its hooks are scripts that run."""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.guests import rig  # noqa: E402
from tools.handoff import make_packages  # noqa: E402


class Package:
    """The package, made and unpacked."""

    def __enter__(self):
        self.folder = rig.BUILD / f"tests/guests/package-{os.getpid()}"
        self.path = make_packages.make_package(rig.PROGRAM, "0.1", self.folder)
        self.root = self.folder / "root"
        rig.run("dpkg-deb", "-x", self.path, self.root)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


def test_package_has_the_program_and_hooks():
    with Package() as package:
        got = {str(path.relative_to(package.root)) for path in package.root.rglob("*")
               if path.is_file()}
        want = {name for name in make_packages.FILES if not name.startswith("DEBIAN/")}
        check_equal(got, want | {"usr/lib/metalcow/handoff"}, "files")
        listing = rig.run("dpkg-deb", "-c", package.path)
        check(all(" root/root " in line for line in listing.splitlines()), listing)
        fields = rig.run("dpkg-deb", "-f", package.path)
        check("Package: metalcow-handoff" in fields, fields)


def test_package_hooks_pass_shellcheck():
    with Package() as package:
        scripts = [path for path in package.root.rglob("*")
                   if path.is_file() and path.name != "handoff"]
        for script in scripts:
            check(os.access(script, os.X_OK), f"{script} cannot be run")
        # SC1091, SC2154: files and variables of the initrd's maker.
        rig.run("shellcheck", "-e", "SC1091,SC2154,SC2034", *scripts)


def test_package_initramfs_hook_copies_program_and_names_modules():
    """Run the hook with a stand-in for the functions of initramfs-tools."""
    with Package() as package:
        hook = package.root / "usr/share/initramfs-tools/hooks/metalcow-handoff"
        functions = package.folder / "hook-functions"
        functions.write_text('manual_add_modules() { echo "module $1"; }\n')
        text = hook.read_text().replace("/usr/share/initramfs-tools/hook-functions",
                                        str(functions))
        text = text.replace("/usr/lib/metalcow", f"{package.root}/usr/lib/metalcow")
        done = subprocess.run(["sh", "-eu", "-c", text, "hook", "x"], check=False,
                              capture_output=True, text=True,
                              env=dict(os.environ, DESTDIR=str(package.folder / "initrd")))
        check_equal((done.returncode, done.stderr), (0, ""), "the hook")
        check_equal(done.stdout.split("\n")[:-1],
                    [f"module {name}" for name in make_packages.MODULES.split()], "modules")
        check((package.folder / "initrd/metalcow/handoff").read_bytes()
              == rig.PROGRAM.read_bytes(), "the program in the initrd")
        for script in ("hooks", "scripts/init-top"):
            path = package.root / f"usr/share/initramfs-tools/{script}/metalcow-handoff"
            check_equal(rig.run("sh", path, "prereqs"), "", f"{script}: prereqs")


if __name__ == "__main__":
    cases.main(globals())
