"""metalcow-stick: make a stick, or add an installation to an ESP, from disk images.

May call everything in tools/stick/. Invariant: nothing is written before all that can be checked
was checked, the plan was printed, and a person or --yes agreed.

See metalcow-stick(8) in tools/man/ for what each option does and for what an interruption leaves.
"""

import argparse
import contextlib
import errno
import fcntl
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import uuid

from tools import fs
from tools.stick import delivery, devices, images, limits, make_stick, references, volumes
from tools.stick.images import Refusal
from tools.stick.progress import Progress, size_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {"mcopy": "mtools", "mkfs.fat": "dosfstools", "sfdisk": "fdisk"}
LOADERS = {0x8664: "BOOTX64.EFI", 0xAA64: "BOOTAA64.EFI"}  # by the Machine field of PE
BLKRRPART = 0x125F  # ioctl: read the partition table again
FAT_END = 1 << 32

DONE, FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130


class Interrupted(BaseException):
    """Ctrl-C, or another signal that asks the command to end."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(*_):
    """Further signals are ignored: the first one ends the command, in an orderly way."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


# ---- the command line ----


def parse_size(text):
    match = re.fullmatch(r"(\d+)([kKmMgG]?)", text)
    if not match or int(match.group(1)) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no size such as 4G")
    return int(match.group(1)) << {"": 0, "k": 10, "m": 20, "g": 30}[match.group(2).lower()]


def parse_partition(text):
    if not re.fullmatch(r"\d+", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of a partition; the first is 1")
    return int(text)


def parser():
    p = argparse.ArgumentParser(prog="metalcow-stick", description=__doc__.splitlines()[0])
    p.add_argument("verb", choices=("make", "add"),
                   help="make: a new stick; add: files on an ESP that exists")
    p.add_argument("target", metavar="TARGET", help="a device or an image file; add: or a folder")
    p.add_argument("images", metavar="IMAGE", nargs="+", help="disk images, the default one first")
    p.add_argument("-y", "--yes", action="store_true", help="do not ask")
    p.add_argument("-n", "--dry-run", action="store_true", help="print the plan and end")
    p.add_argument("-q", "--quiet", action="store_true", help="no progress")
    p.add_argument("--force", action="store_true", help="also where data or other files are lost")
    p.add_argument("--size", type=parse_size, help="make: the size of the image file")
    p.add_argument("--partition", type=parse_partition, metavar="NUMBER",
                   help="add: which partition")
    p.add_argument("--application", action="append", type=pathlib.Path, metavar="FILE",
                   help="metalcow.efi; given again: that of another architecture")
    p.add_argument("--application-path", metavar="PATH",
                   help="where it is stored (default: /EFI/BOOT/BOOTX64.EFI, BOOTAA64.EFI)")
    p.add_argument("--metalcow", metavar="PROGRAM", help="the host command")
    p.add_argument("--title", help="what a person reads in place of the image's name")
    p.add_argument("--mode", choices=("ro", "overlay", "rw"), help="where writes go")
    p.add_argument("--snapshot", metavar="NAME", help="id or name of an internal snapshot")
    p.add_argument("--format", choices=("qcow2", "raw"), help="the format of the images")
    p.add_argument("--backing-format", choices=("qcow2", "raw"),
                   help="of backing files whose format no image says")
    p.add_argument("--data-file", metavar="FILE", help="instead of the name in the image")
    return p


def check_usage(p, args):
    for option in ("title", "snapshot", "data_file"):
        if getattr(args, option) and len(args.images) > 1:
            p.error(f"--{option.replace('_', '-')} is of one image; call the command for each")
    for option in ("title", "snapshot"):
        text = getattr(args, option)
        complaint = None if text is None else limits.text_complaint(text)
        if complaint:
            p.error(f"--{option} {complaint}")
    if args.snapshot and args.mode == "rw":
        p.error("--mode rw writes the image, and a snapshot cannot be written; "
                "with --mode overlay writes go to memory")
    if args.verb == "make" and args.partition is not None:
        p.error("--partition belongs to add")
    if args.verb == "add" and args.size is not None:
        p.error("--size belongs to make")
    if args.application_path is not None and not application_path(args.application_path):
        p.error(f"--application-path: '{args.application_path}' is no path such as "
                f"/EFI/metalcow/metalcow.efi, in ASCII and without \"..\"")
    if args.application_path and len(args.application or ()) > 1:
        p.error("--application-path is of one application")


# ---- what goes onto the stick ----


def host_command(args):
    """The host command: the one of --metalcow, of this tree, or of PATH, in this order."""
    built = ROOT / os.environ.get("BUILD", "build") / "host/metalcow"
    found = args.metalcow or (str(built) if built.exists() else shutil.which("metalcow"))
    if not found or not shutil.which(found):
        raise Refusal(f"{found or 'metalcow'}: the host command is not there; `make` builds it, "
                      f"and --metalcow PROGRAM names it")
    return found


def loader_path(application):
    """Where firmware looks for an application of its architecture."""
    try:
        with open(application, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise Refusal(f"{application}: {error.strerror}; `make` builds the application, and "
                      f"--application FILE names it") from error
    at = struct.unpack_from("<I", head, 60)[0] if len(head) >= 64 else 0
    if head[:2] != b"MZ" or head[at:at + 4] != b"PE\0\0" or len(head) < at + 6:
        raise Refusal(f"{application} is no UEFI program")
    machine = struct.unpack_from("<H", head, at + 4)[0]
    if machine not in LOADERS:
        raise Refusal(f"{application} is for the machine type 0x{machine:x}, which has no name for "
                      f"boot loaders here; x86-64 and AArch64 have")
    return f"/EFI/BOOT/{LOADERS[machine]}"


def application_path(said):
    """The path on the stick of what --application-path says; None: no file can have it."""
    parts = said.replace("\\", "/").removeprefix("/").split("/")
    return "/" + "/".join(parts) if all(images.safe_name(part) == part for part in parts) else None


def application_files(args):
    built = ROOT / os.environ.get("BUILD", "build") / "x64/metalcow.efi"
    files = []
    for application in args.application or [built]:
        path = loader_path(application)
        if args.application_path:
            path = application_path(args.application_path)
        if path in dict(files):
            raise Refusal(f"{application}: two applications are for {path}")
        files.append((path, application))
    return files


def identities(paths):
    """[(name of the image's entry, its title)]; the names are all different."""
    names = []
    for path in paths:
        stem = pathlib.Path(path).stem
        first = images.safe_name(stem).replace(" ", "_")
        first = f"_{first}" if first.startswith(".") else first  # firmware passes over such entries
        taken = [name.lower() for name, _ in names]
        number, name, title = 1, first, stem
        while name.lower() in taken:
            number += 1
            name, title = f"{first}-{number}", f"{stem}-{number}"
        names.append((name, images.title_of(title) or name))
    return names


def check_collisions(files):
    """Two files of one path, or a file with the path of a folder."""
    for number, (path, _) in enumerate(files):
        for other, _ in files[:number]:
            short, long = sorted((path.lower(), other.lower()), key=len)
            if short == long or long.startswith(short + "/"):
                raise Refusal(f"the stick cannot have both {other} and {path}; say another "
                              f"--application-path")


def collect(args):
    """([(path on the stick, host path or bytes)] in the order of naming, the images)."""
    metalcow, layout = host_command(args), images.Layout()
    for number, path in enumerate(args.images):
        if os.path.realpath(path) in map(os.path.realpath, args.images[:number]):
            raise Refusal(f"{path} is named twice; name each image once")
    options = {key: getattr(args, key) for key in ("title", "mode", "snapshot", "format",
                                                   "backing_format", "data_file")}
    found = [images.Image(metalcow, path, name, options, layout)
             for path, name in zip(args.images, identities(args.images))]
    for image in found:
        limits.check_image(image.path, image.layers, image.lines, args.snapshot)
    files = list(layout.files.items()) + application_files(args)
    files.append(("/metalcow/metalcow.conf", f"default {found[0].identity}\n".encode()))
    files += [(f"/metalcow/entries/{image.identity}.conf", image.entry()) for image in found]
    check_collisions(files)
    return files, found


def check_lengths(files, cluster):
    """FAT counts a file's bytes in 32 bits; a last cluster that ends at 4 GiB confuses programs."""
    limit = FAT_END - cluster
    for path, source in files:
        if delivery.size_of(source) > limit:
            raise Refusal(
                f"{source} has {size_text(delivery.size_of(source))}; a file on FAT has at most "
                f"{limit} bytes. Compress the disk with `metalcow convert -O qcow2 -c {source} "
                f"SMALLER.qcow2`, or divide it: see \"LARGE IMAGES\" in metalcow-stick(8). "
                f"`metalcow measure -O qcow2` says how large a file would be")


# ---- targets ----


def entry_names(files):
    """The names of the files that go into the folder of entries."""
    return [path.rpartition("/")[2] for path, _ in files
            if path.lower().startswith(references.FOLDER + "/")]


class NewStick:
    """A whole device or a new image file."""

    def __init__(self, args, files):
        self.path, self.files = pathlib.Path(args.target), files
        self.is_device = self.path.exists() and devices.is_device(self.path)
        if self.path.is_symlink() and not self.is_device:
            self.path = pathlib.Path(os.path.realpath(self.path))  # the link stays
        if self.path.exists() and not self.is_device and not self.path.is_file():
            raise Refusal(f"{self.path} is neither a device nor a file; to add to a folder, say "
                          f"`metalcow-stick add`")
        if not self.path.exists() and self.path.absolute().parent == pathlib.Path("/dev"):
            raise Refusal(f"there is no device {self.path}; is the stick plugged in?")
        if self.is_device and devices.is_partition(self.path):
            raise Refusal(f"{self.path} is a partition, and firmware reads no partition table "
                          f"inside one. Name the whole device, or copy to the partition with "
                          f"`metalcow-stick add`")
        self.size = self.choose_size(args.size)
        self.cluster = 4096 << sum(self.size > limit << 30 for limit in (8, 16, 32))
        self.check(args.force)
        limits.check_entries(entry_names(files), self.path)
        self.state = f"{self.path} was not touched"

    def least_size(self):
        return make_stick.good_size(dict(self.files), 32, 4096)

    def choose_size(self, asked):
        if self.is_device and asked is not None:
            raise Refusal("--size is for image files; a device has its own size")
        size = devices.size_of(self.path) if self.is_device else asked or self.least_size()
        size -= size % fs.MIB
        if size < self.least_size():
            raise Refusal(f"{self.path}: the files need {size_text(self.least_size())}, and "
                          f"{'it' if self.is_device else 'a stick of this size'} has "
                          f"{size_text(size)}. Use a larger one, or compress the images: "
                          f"`metalcow convert -O qcow2 -c IMAGE SMALLER.qcow2`")
        return size

    def check(self, force):
        if self.path.exists():
            devices.refuse_used(self.path)
            holds = devices.what_it_holds(self.path)
            if (holds or not self.is_device) and not force:
                raise Refusal(f"{self.path} " + (f"holds {holds}" if holds else "exists") +
                              ", which would be lost. Say --force if you want that")
        if any(isinstance(source, pathlib.Path) and self.path.exists()
               and self.path.samefile(source) for _, source in self.files):
            raise Refusal(f"{self.path} is one of the files that it is to hold")
        if not self.is_device:
            check_room_on_host(self.path, sum(delivery.size_of(s) for _, s in self.files))

    def describe(self):
        if self.is_device:
            holds = devices.what_it_holds(self.path)
            yield f"{self.path}, {size_text(self.size)}: everything on it is lost" + (
                f" (it holds {holds})" if holds else " (it seems to be empty)")
        else:
            yield f"a stick of {size_text(self.size)} in the file {self.path}" + (
                ", which is replaced" if self.path.exists() else "")
        yield "a GPT with one EFI system partition, FAT32, clusters of " \
              f"{size_text(self.cluster)}"

    def changed_files(self):
        return self.files

    def make(self, new_progress):
        work = self.path if self.is_device else self.path.with_name(self.path.name + ".partial")
        try:
            self.fill(work, new_progress)
        except BaseException:
            if not self.is_device:
                with contextlib.suppress(OSError):
                    work.unlink()
            raise

    def fill(self, work, new_progress):
        """Write the stick. The partition table is written last, so until then no program finds a
        volume on it."""
        if self.is_device:
            self.state = (f"{self.path} has lost what it held. It has no partition table and no "
                          f"stick was made: run the command again")
            empty(work)
        else:
            fs.make_sparse(work, self.size)
        length = self.size - 2 * fs.MIB
        fs.make_fat(work, fs.MIB, length, cluster=self.cluster,
                    volume_id=uuid.uuid4().hex[:8].upper())
        delivery.Delivery(volumes.FatVolume(work, fs.MIB), self.files, new_progress).run()
        if self.is_device:
            self.state = (f"all files are on {self.path} and were verified, but its partition "
                          f"table may not be whole: run the command again")
        make_stick.place(work, "gpt", self.size, (str(uuid.uuid4()), str(uuid.uuid4())))
        volumes.drop_cache(work)
        if devices.find_volume(work) != fs.MIB:
            raise delivery.Mismatch(f"{work}: the partition table is not what was written")
        if not self.is_device:
            os.replace(work, self.path)
            volumes.FolderVolume.sync_folder(self.path.absolute().parent)


def check_room_on_host(path, needed):
    folder = path.absolute().parent
    if not folder.is_dir():
        raise Refusal(f"there is no folder {folder}")
    free = volumes.FolderVolume(folder).free
    if free < needed:
        raise Refusal(f"{folder} has {size_text(free)} free, and the files need "
                      f"{size_text(needed)}. Make room, or name a file on another file system")


def empty(path):
    """Overwrite both ends of a device, and have the kernel forget its partitions."""
    size = devices.size_of(path)
    with open(path, "r+b", buffering=0) as file:
        for at in (0, max(0, size - fs.MIB)):
            file.seek(at)
            file.write(bytes(min(fs.MIB, size)))
        os.fsync(file.fileno())
        if devices.is_device(path):
            forget_partitions(file)


def forget_partitions(file):
    """Have the kernel forget the partitions of a device. On devices on which the kernel looks for
    no partitions, such as a loop device without --partscan, the ioctl fails with EINVAL or ENOTTY;
    then there are none to forget."""
    try:
        fcntl.ioctl(file.fileno(), BLKRRPART)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise


class OldVolume:
    """An ESP that exists: a folder where it is mounted, or a FAT volume in a device or file."""

    def __init__(self, args, files):
        self.path, self.files = pathlib.Path(args.target), files
        if not self.path.exists():
            raise Refusal(f"{self.path} does not exist; `metalcow-stick make` makes a new stick")
        self.volume = self.open_folder(args) if self.path.is_dir() else self.open_volume(args)
        self.cluster = self.volume.cluster
        self.check_kinds()
        self.old = [path for path, source in files
                    if delivery.is_there(self.volume, path, source)]
        self.new = [row for row in files if row[0] not in self.old]
        self.keep_settings(args.force)
        self.replaced = [path for path, _ in self.new if self.volume.has(path)]
        self.check_other_entries()
        self.check_number_of_entries()
        self.check(args.force)
        self.delivery = None

    def open_folder(self, args):
        if args.partition is not None:
            raise Refusal("--partition is for devices and image files, and this is a folder")
        kind = subprocess.run(["stat", "-f", "-c", "%T", str(self.path)], check=True,
                              capture_output=True, text=True).stdout.strip()
        if kind != "msdos" and not args.force:
            raise Refusal(f"{self.path} is on a file system of the kind {kind}; firmware reads "
                          f"FAT. Is the ESP mounted? --force copies there all the same")
        return volumes.FolderVolume(self.path)

    def open_volume(self, args):
        devices.refuse_used(self.path)
        return volumes.FatVolume(self.path, devices.find_volume(self.path, args.partition))

    def check_kinds(self):
        """A folder that has the path of a file, or a file that of a folder, is not ours to remove.
        """
        paths = [name for path, _ in self.files for name in (path, path + delivery.SUFFIX)]
        folders = {"/".join(parts[:depth]) for parts in (path.split("/") for path in paths)
                   for depth in range(2, len(parts))}
        for kind, names in (("folder", paths), ("file", sorted(folders))):
            for path in names:
                if self.volume.kind(path) == kind:
                    wanted = {"file": "folder", "folder": "file"}[kind]
                    raise Refusal(f"{self.path}: {path} is a {kind}, where a {wanted} is needed. "
                                  f"Remove or rename it")

    def keep_settings(self, force):
        """Keep settings that exist, because they are somebody's choice of the default entry."""
        settings = [row for row in self.new if row[0] == "/metalcow/metalcow.conf"]
        if settings and not force and self.volume.has(settings[0][0]):
            self.new.remove(settings[0])
            self.old.append(settings[0][0])

    def check_other_entries(self):
        """An entry that this command does not write keeps the content of its files."""
        needed = references.entries_that_need(self.volume, self.replaced,
                                              [path for path, _ in self.files])
        if needed:
            entry, path = needed[0]
            raise Refusal(f"{self.path}: its entry {entry} needs {path}, which would get other "
                          f"content. Name the image of that entry in this command too, give the "
                          f"new image another name, which is also that of its folder, or remove "
                          f"the entry")

    def check_number_of_entries(self):
        limits.check_entries(self.volume.names(references.FOLDER) + entry_names(self.files),
                             self.path)

    def check(self, force):
        if self.replaced and not force:
            raise Refusal(f"{self.path} has other files of these names: {', '.join(self.replaced)}."
                          f" Say --force to replace them, or --application-path "
                          f"/EFI/metalcow/metalcow.efi to leave another boot loader alone")
        # Two more clusters for each file are for folders.
        needed = sum(-(-delivery.size_of(source) // self.cluster) + 2 for _, source in self.new)
        if needed * self.cluster > self.volume.free:
            raise Refusal(f"{self.path} has {size_text(self.volume.free)} free, and the files need "
                          f"{size_text(needed * self.cluster)}. Remove something from it, or "
                          f"compress the images: "
                          f"`metalcow convert -O qcow2 -c IMAGE SMALLER.qcow2`")

    def describe(self):
        kind = "the folder" if self.path.is_dir() else "the FAT volume in"
        yield f"{kind} {self.path}, {size_text(self.volume.free)} free"
        for path in self.old:
            yield f"stays: {path}"
        for path in self.replaced:
            yield f"is replaced: {path}"

    def changed_files(self):
        return self.new

    @property
    def state(self):
        named = self.delivery.named if self.delivery else []
        if not named:
            return f"no file of {self.path} was changed"
        return (f"in place on {self.path}: {', '.join(named)}. Run the command again to finish; "
                f"entries come last, so none names a file that is not whole")

    def make(self, new_progress):
        self.delivery = delivery.Delivery(self.volume, self.new, new_progress)
        self.delivery.run()


# ---- the run ----


def check_programs():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in PROGRAMS.items()
                      if not shutil.which(program)})
    if missing:
        raise Refusal(f"programs are missing: apt-get install {' '.join(missing)}")


def print_plan(target, found):
    print("This is what metalcow-stick will do:")
    for line in target.describe():
        print(f"  {line}")
    for path, source in target.changed_files():
        origin = "" if isinstance(source, bytes) else f"  from {source}"
        print(f"  {size_text(delivery.size_of(source)):>9}  {path}{origin}")
    for image in found:
        print(f"  entry {image.identity}: "
              f"{'; '.join(f'{key} {value}' for key, value in image.lines)}")
    sys.stdout.flush()


def agreed():
    if not sys.stdin.isatty():
        raise Refusal("nobody can be asked here; say --yes if that is what you want")
    print("Go on? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run(args):
    check_programs()
    files, found = collect(args)
    for path, source in files:
        if not isinstance(source, bytes) and not os.access(source, os.R_OK):
            raise Refusal(f"{source} cannot be read; it is to be {path} on the stick")
    check_lengths(files, 4096)
    target = (NewStick if args.verb == "make" else OldVolume)(args, files)
    check_lengths(files, target.cluster)
    print_plan(target, found)
    if args.dry_run:
        return DONE
    if not target.changed_files():
        print("Everything is there already.")
        return DONE
    if not args.yes and not agreed():
        raise Refusal("not agreed")
    return carry_out(target, args.quiet)


def carry_out(target, quiet):
    try:
        target.make(lambda verb, total: Progress(verb, total, quiet))
    except Interrupted:
        say(f"interrupted: {target.state}")
        return INTERRUPTED
    except (OSError, fs.ToolError, delivery.Mismatch) as error:
        say(f"{error}\nmetalcow-stick: {target.state}")
        return FAILED
    print(f"{target.path} is ready; every file was read back and compared.")
    return DONE


def say(text):
    print(f"metalcow-stick: {text}", file=sys.stderr)


def main(words=None):
    p = parser()
    args = p.parse_args(words)
    check_usage(p, args)
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        return run(args)
    except (Refusal, OSError, fs.ToolError) as error:
        say(f"{error}\nmetalcow-stick: nothing was touched")
        return REFUSED
    except Interrupted:
        say("interrupted: nothing was touched")
        return INTERRUPTED
