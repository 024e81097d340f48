"""Which files an image consists of, and where they are stored on a stick.

May call the host command (`metalcow info`). Invariant: on the stick each name inside an image leads
to the file that it leads to here, or the entry has a key that replaces the name.
"""

import json
import os
import pathlib
import re
import subprocess

# Characters of names on a stick. All others become "_": FAT forbids some, mtools expands some.
UNSAFE = re.compile(r"[^A-Za-z0-9._ +@=~-]")
# Names of devices, with any suffix: mtools and Windows take them for no files.
DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9]) *(\..*)?", re.IGNORECASE)
MAX_NAME = 200  # characters; FAT takes 255, and ".partial" is appended while a file is copied


class Refusal(Exception):
    """Nothing was touched; the text says why and what to do."""


def safe_name(name):
    """A file name that every volume takes; it differs from `name` only where it must."""
    name = UNSAFE.sub("_", name).strip(" ").rstrip(".")[-MAX_NAME:] or "_"
    return f"_{name}" if DEVICE.fullmatch(name) else name


def title_of(name):
    """A name as the value of a key: on one line, at most 255 bytes."""
    shown = "".join(c if c.isprintable() else "_" for c in name).strip(" ")
    return shown.encode()[:255].decode(errors="ignore")


def chain_info(metalcow, image, options):
    """What `metalcow info` says of an image and the files below it, from the top down."""
    command = [str(metalcow), "info", "--backing-chain", "--output=json", *options, str(image)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refusal(done.stderr.strip() or f"`{' '.join(command)}` failed")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise Refusal(f"{metalcow}: `info` did not describe {image}; is this the host command? "
                      f"--metalcow PROGRAM names it") from error


class Layout:
    """Places on the stick: {place: host path}. A host file has one place, however many use it."""

    def __init__(self):
        self.files = {}
        self.taken = {}  # place in small letters, because FAT does not tell them apart: host path

    def put(self, place, source):
        """Give a place to a file; False if another file has the place."""
        source = pathlib.Path(os.path.realpath(source))
        if self.taken.setdefault(place.lower(), source) != source:
            return False
        if not any(known.lower() == place.lower() for known in self.files):
            self.files[place] = source
        return True

    def put_somewhere(self, folder, source):
        """Give a file a place in a folder, under a name that is free; return the place, or the one
        that it has already."""
        real = pathlib.Path(os.path.realpath(source))
        for place, known in self.files.items():
            if known == real:
                return place
        stem, suffix = os.path.splitext(safe_name(pathlib.Path(source).name))
        for number in range(1, 10000):
            place = f"{folder}/{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            if self.put(place, source):
                return place
        raise Refusal(f"{source}: 10000 files have its name")


def place_by_name(layout, holder, name, source):
    """Give a file the place to which the name inside the image at the place `holder` leads; return
    the place. None: the name is absolute, leaves the folder, has characters that a stick cannot
    have, or leads to the place of another file."""
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") or safe_name(part) != part
                                   for part in parts):
        return None
    place = f"{os.path.dirname(holder)}/{name}"
    return place if layout.put(place, source) else None


def layer_data_file(info):
    """The name of a layer's external data file, or None."""
    return info.get("format-specific", {}).get("data", {}).get("data-file")


def place_data_file(layout, image, source, name, is_top):
    """Give a layer's data file a place. Return the place if the entry has to name it; None if the
    name inside the image leads to it."""
    path = pathlib.Path(source).parent / name
    if not path.is_file():
        raise Refusal(f"{source}: its data file {path} is not there. If it is stored somewhere "
                      f"else, name it: --data-file FILE, or `metalcow amend -o data_file=FILE`")
    if place_by_name(layout, image, name, path):
        return None
    if not is_top:
        raise Refusal(f"{source}: this backing file names its data file {name}, which is not "
                      f"below its own folder, and an entry cannot replace that name. Move the "
                      f"data file there, and say so: `metalcow amend -o data_file=NAME {source}`")
    return layout.put_somewhere(os.path.dirname(image), path)


class Image:
    """One image with all its files on the stick, and the lines of its entry."""

    def __init__(self, metalcow, path, names, options, layout):
        """names: (name of the entry, title). options: format, backing_format, data_file (host
        path), mode, title, snapshot."""
        identity, title = names
        self.path, self.identity, self.options = pathlib.Path(path), identity, options
        self.lines = [("title", options.get("title") or title)]
        # With these options `info` opens the files that `attach` opens by the entry's keys.
        said = [f"--{key.replace('_', '-')}={options[key]}"
                for key in ("format", "backing_format", "data_file") if options.get(key)]
        self.layers = chain_info(metalcow, path, said)
        self.place(layout)

    def place(self, layout):
        top = layout.put_somewhere(f"/img/{self.identity}", self.path)
        self.lines.append(("image", top))
        if self.layers[0]["format"] != "qcow2":
            self.lines.append(("format", self.layers[0]["format"]))
        self.place_data_files(layout, self.place_backing_files(layout, top))
        for key in ("backing_format", "mode", "snapshot"):
            if self.options.get(key):
                self.lines.append((key.replace("_", "-"), self.options[key]))

    def place_backing_files(self, layout, top):
        """Give places to all layers and return them. The entry names each backing file down to the
        last one to which the name inside an image does not lead, because the n-th key
        backing-file is of the n-th layer below the top."""
        places, nb_named = [top], 0
        for number, below in enumerate(self.layers[1:], start=1):
            holder = self.layers[number - 1]
            place = place_by_name(layout, places[-1], holder["backing-filename"],
                                  below["filename"])
            if place is None:
                place = layout.put_somewhere(f"/img/{self.identity}", below["filename"])
                nb_named = number
            places.append(place)
        self.lines += [("backing-file", place) for place in places[1:nb_named + 1]]
        return places

    def place_data_files(self, layout, places):
        for number, (place, layer) in enumerate(zip(places, self.layers)):
            source = layer["filename"] if number else self.path
            name = layer_data_file(layer)
            if number == 0 and self.options.get("data_file"):
                name = os.path.abspath(self.options["data_file"])
            if name is None:
                continue
            named = place_data_file(layout, place, source, name, number == 0)
            if named:
                self.lines.append(("data-file", named))

    def entry(self):
        """The text of the entry."""
        return "".join(f"{key} {value}\n" for key, value in self.lines).encode()
