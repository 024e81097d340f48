#!/usr/bin/python3
"""Texts: every reference resolves inside the repository, and lines of prose fit 100 columns.

Looked at are the comments of all sources, and the texts *.md:

    DESIGN.md, 3.2      HAZARDS.md, W7      "CONTRIBUTING.md, 2.9 and 2.11": the section is there
    core/read/name_gate.c    name_gate.c in a comment: the file is there
    q2_mapping_find()            a function of ours: it is declared somewhere
    [text](target)      a link leads to a file or to a heading
    `test_NAME` after the name of a file in HAZARDS.md: the file has that test
    the number of a hazard, a convention or a section of a design alone: refused, because it names
    no text

Man pages (tools/man/) have no warning of man, and name exactly the verbs, options and keys that the
programs take: `metalcow help --list` for the host, the tables of efi/ for the firmware programs,
`metalcow-stick --help` for the stick.

Subjects of commits since STAGE_BEGIN are `area: summary` within 72 columns, with a body.
"""

import functools
import pathlib
import re
import subprocess

import lint
from tests import cases

STAGE_BEGIN = 1795824000  # 2026-11-28, when the rule for subjects began
MAX_COLUMNS = 100
MAX_SUBJECT = 72
SOURCES = (".c", ".h", ".py", ".sh", ".mk", ".S")
# Names of files that are not ours: headers of C and of UEFI, and files that programs make.
FOREIGN = re.compile(r"(std\w+|limits|string|zlib|zstd|zconf|efi\w*|sys/\w+|errno|fcntl|unistd)"
                     r"\.h$")

CITATION = re.compile(
    r"\b([A-Z]+\.md),?[\s*#]+(?:section\s+)?((?:[FWU]?\d+(?:\.\d+)?)(?:(?:,| and| to|, and)[\s*#]+"
    r"(?:section\s+)?[FWU]?\d+(?:\.\d+)?(?![\w.]*\w))*)(?![\w])")
TITLE = re.compile(r"\b([A-Z]+\.md),[\s*#]+\"([^\"]+)\"")
TEXT_NAME = re.compile(r"(?<![\w/.-])([A-Za-z]+\.md)\b")
UNDEFINED = re.compile(r"[Hh]azards?\s+[FWU]\d|\bdesign,\s+(?:section|\")|\bdesign's section|"
                       r"\bconventions?\s+\d")
# Who calls a file gets out of date.
CALLERS = re.compile(r"\bCalled by\b|\b(?:Below|Above|Beside) \w+\.c\b|-> here\b")
# Words that strangers stumble over, and what to write.
RIDDLES = (("behind", "'after' for order and places"), ("lies", "'is stored', 'is' or 'starts'"))
PATH = re.compile(r"(?<![\w/.<*$)}-])([\w.-]+/[\w./-]*\w\.(?:c|h|py|sh|mk|svg))\b(?![*<])")
BARE = re.compile(r"(?<![\w/.<*$)}-])([a-z]\w*\.(?:c|h|py))\b(?![*<])")
# Paths of other systems: an installed guest's, and those of the kernel's sources.
ELSEWHERE = re.compile(r"(usr|var|etc|lib|include/uapi|linux|sys)/")
PLACEHOLDER = re.compile(r"\b[A-Z]+\b|_[A-Z]+\b")
FUNCTION = re.compile(r"\b((?:q2|mc)_\w+)\(\)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SUBJECT = re.compile(r"[a-z][a-z0-9_/.-]*(, [a-z0-9_/.-]+)*: \S.*[^.\s]$")


def tracked():
    """All files of the repository, or below it where it is no checkout."""
    if (lint.ROOT / ".git").exists():
        names = lint.run("git", "ls-files", "--cached", "--others", "--exclude-standard")
        paths = [pathlib.Path(name) for name in names.splitlines()]
    else:
        paths = [path.relative_to(lint.ROOT) for path in lint.ROOT.rglob("*")
                 if path.is_file() and lint.BUILD not in path.parents]
    return [path for path in paths if (lint.ROOT / path).is_file()]


@functools.cache
def names():
    """(paths, names of files) that a reference may name."""
    paths = tracked()
    return {str(path) for path in paths}, {path.name for path in paths}


def is_sample(path):
    return "samples" in path.parts


def comments(text, suffix):
    """[(line number, text)] of the comments of a source; strings of Python that stand alone too."""
    if suffix in (".c", ".h", ".S"):
        # Strings are kept out of the way: "//" in one is no comment.
        pattern = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)\'|(/\*.*?\*/)'
        found = re.finditer(pattern, text, re.S)
    else:
        found = re.finditer(r'("""(?:.*?)""")|((?:^|(?<=\s))#[^\n]*)', text, re.S)
    for match in found:
        comment = next((group for group in match.groups() if group), None)
        if comment:
            yield text.count("\n", 0, match.start()) + 1, comment


@functools.cache
def sections(name):
    """(ids, titles) of a text: 3, 3.2, W7."""
    path = lint.ROOT / name
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    ids = {match.group(1) for match in (re.match(r"([FWU]?\d+(?:\.\d+)?)\.? ", heading)
                                        for heading in headings) if match}
    return ids, set(headings)


def anchors(text):
    """What a link may lead to inside a text: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@functools.cache
def code():
    """All sources without their comments, to look functions up in."""
    kept = []
    for path in tracked():
        if path.suffix in (".c", ".h") and not is_sample(path):
            text = (lint.ROOT / path).read_text(encoding="utf-8")
            kept.append(re.sub(r"/\*.*?\*/", " ", text, flags=re.S))
    return "\n".join(kept)


@functools.cache
def is_function(name):
    return re.search(rf"\b{name}\b", code()) is not None


def split_ids(text):
    """F7 to F10, F13 -> F7, F8, F9, F10, F13."""
    ids = []
    for part in re.split(r",|\band\b", re.sub(r"[\s*#]+|section", " ", text)):
        ends = part.split(" to ")
        ids.append(ends[0].strip())
        if len(ends) == 2:
            letter = re.match(r"[FWU]?", ends[0].strip()).group()
            first, last = (int(re.search(r"\d+$", end.strip()).group()) for end in ends)
            ids += [f"{letter}{number}" for number in range(first + 1, last + 1)]
    return [name for name in ids if name]


def citation_complaints(text):
    for match in UNDEFINED.finditer(text):
        yield f"'{' '.join(match.group().split())}' names no text of the repository"
    for match in TEXT_NAME.finditer(text):
        if match.group(1) not in names()[0]:
            yield f"there is no text {match.group(1)}"
    for match in CITATION.finditer(text):
        if match.group(1) in names()[0]:
            for name in split_ids(match.group(2)):
                if name not in sections(match.group(1))[0]:
                    yield f"{match.group(1)} has no section {name}"
    for match in TITLE.finditer(text):
        title = " ".join(re.sub(r"\n[\s*#]*", " ", match.group(2)).split())
        if match.group(1) in names()[0] and title not in sections(match.group(1))[1]:
            yield f"{match.group(1)} has no section called {title}"


def file_complaints(text, path):
    paths, basenames = names()
    for match in PATH.finditer(text):
        name = match.group(1)
        if ELSEWHERE.match(name) or PLACEHOLDER.search(name) or FOREIGN.search(name):
            continue
        if not any(
                known == name or known.endswith("/" + name) for known in paths):
            yield f"there is no file {name}"
    for match in BARE.finditer(text):
        if match.group(1) not in basenames and not PLACEHOLDER.search(
                match.group(1)) and not FOREIGN.match(match.group(1)):
            yield f"there is no file {match.group(1)}"
    if path.parts[0] != "tools" or path.parts[1] != "third_party":
        for match in FUNCTION.finditer(text):
            if not is_function(match.group(1)):
                yield f"there is no function {match.group(1)}()"


def link_complaints(text, path):
    for match in LINK.finditer(text):
        target, _, anchor = match.group(1).partition("#")
        if "://" in target:
            continue
        file = lint.ROOT / (target or path)
        if not file.exists():
            yield f"a link leads to {target}, which is not there"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"a link leads to #{anchor}, which is no heading"


def named_test_complaints(text):
    """Tests that HAZARDS.md names after a file, and rows of tests/bad."""
    rows = (lint.ROOT / "tests/bad/bad_images.h").read_text(encoding="utf-8")
    for paragraph in re.findall(r"^Test: .*?(?=\n\n|\Z)", text, re.M | re.S):
        file = None
        for word in re.findall(r"tests/bad:|`[^`]+`", paragraph):
            name = word.strip("`")
            if name == "tests/bad:" or "/" in name:
                file = name
            elif file == "tests/bad:" and f'.rule = "{name}"' not in rows:
                yield f"tests/bad has no row {name}"
            elif file != "tests/bad:" and not has_test(file, name):
                yield f"{file} has no test {name}"


def has_test(file, name):
    path = lint.ROOT / (file or "")
    return path.is_file() and re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))


def width_complaints(text):
    """Lines of prose; rows of tables and pictures may be longer."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS and not line.startswith(("|", "![")):
            yield f"line {number} has {len(line)} columns, more than {MAX_COLUMNS}"


def text_complaints(path):
    text = (lint.ROOT / path).read_text(encoding="utf-8")
    # Examples of what is written into comments are no references.
    prose = re.sub(r"^    .*$", "", text, flags=re.M)
    found = [*citation_complaints(re.sub(r'^\s*\d+\. \[.*$', "", prose, flags=re.M)),
             *file_complaints(re.sub(r"[`]", " ", prose), path), *link_complaints(text, path),
             *width_complaints(text)]
    if path.name == "HAZARDS.md" or is_sample(path):
        found += named_test_complaints(text)
    return [f"{path}: {complaint}" for complaint in found]


def caller_complaints(comment):
    if CALLERS.search(comment):
        yield "says who calls it: say what it may call"


def riddle_complaints(comment):
    for word, better in RIDDLES:
        if re.search(rf"\b{word}\b", comment):
            yield f"'{word}' is no plain word here: write {better}"


def source_complaints(path):
    text = (lint.ROOT / path).read_text(encoding="utf-8", errors="replace")
    return [f"{path}:{line}: {complaint}" for line, comment in comments(text, path.suffix)
            for complaint in (*citation_complaints(comment), *file_complaints(comment, path),
                              *caller_complaints(comment), *riddle_complaints(comment))]


def message_complaints(message):
    """A commit's message."""
    subject, _, body = message.strip("\n").partition("\n")
    if len(subject) > MAX_SUBJECT:
        yield f"subject has {len(subject)} columns, more than {MAX_SUBJECT}: {subject}"
    if not SUBJECT.match(subject):
        yield f"subject is not `area: summary`: {subject}"
    if not body.strip():
        yield f"no body says why: {subject}"


# ---- man pages ----


def plain(text):
    """troff without comments, with its escapes resolved that the pages use."""
    text = re.sub(r'^\.\\".*$', "", text, flags=re.M)
    return text.replace("\\-", "-").replace("\\e", "\\")


def subsections(text):
    """{heading: body} of .SS below SH VERBS or COMMANDS."""
    parts = re.split(r"^\.(SH|SS) (.*)$", text, flags=re.M)
    chapter, found = "", {}
    for kind, title, body in zip(parts[1::3], parts[2::3], parts[3::3]):
        if kind == "SH":
            chapter = title
        elif chapter in ("VERBS", "COMMANDS"):
            found[title] = body
    return found


def chapter_of(text, *titles):
    """The body of a chapter."""
    match = re.search(rf"^\.SH (?:{'|'.join(titles)})$(.*?)(?=^\.SH |\Z)", text, re.M | re.S)
    return match.group(1) if match else ""


def tags(chapter):
    """What the .TP entries of a chapter are for: the words in bold of their first line."""
    lines = re.findall(r"^\.TP\n(.*)$", chapter, re.M)
    return [word for line in lines for word in re.findall(r"\\fB([^\\]+)\\fR", line)]


def bold_options(text):
    return set(re.findall(r"\\fB(--?[\w-]+)(?: [^\\]*)?\\fR", text))


def set_complaints(page, what, found, wanted):
    yield from (f"{page} does not describe {what} {name}" for name in sorted(wanted - found))
    yield from (f"{page} describes {what} {name}, which is not there"
                for name in sorted(found - wanted))


def host_page_complaints(page, text, listing):
    """The page of the host command beside the rows of `metalcow help --list`."""
    verbs, options = {}, {}
    for row in (line.split("\t") for line in listing.splitlines()):
        if row[0] == "verb":
            verbs[row[1]] = set()
        elif row[0] == "option":
            names = {name for name in row[2:4] if name}
            verbs[row[1]] |= names
            options.update(dict.fromkeys(names))
    described = subsections(text)
    yield from set_complaints(page, "verb", set(described), set(verbs))
    for verb in verbs.keys() & described.keys():
        synopsis = described[verb].partition("\n.PP")[0]
        yield from set_complaints(f"{page}, {verb},", "option", bold_options(synopsis),
                                  verbs[verb] - {"-h", "--help"})
    found = {tag for tag in tags(chapter_of(text, "OPTIONS")) if tag.startswith("-")}
    yield from set_complaints(page, "option", found, set(options))


def firmware_page_complaints(page, text, source):
    """The page of the firmware programs beside the tables of the application."""
    commands = set(re.findall(r'^    \{"([a-z]+)",', source, re.M))
    options = set(re.findall(r'^    \{"(--[a-z-]+)",', source, re.M))
    options |= {option for _, option in disk_keys() if option}
    yield from set_complaints(page, "command", set(subsections(text)), commands)
    found = {tag for tag in tags(chapter_of(text, "OPTIONS")) if tag.startswith("--")}
    yield from set_complaints(page, "option", found, options)


def disk_keys():
    """The rows of mc_spec_keys: (key, option or "")."""
    source = (lint.ROOT / "core/spec/disk_spec.c").read_text(encoding="utf-8")
    rows = re.search(r"\bmc_spec_keys\[\] = \{(.*?)^\};", source, re.M | re.S).group(1)
    return re.findall(r'\{"([a-z-]+)",\s*(?:NULL|"(--[a-z-]+)"),', rows)


def settings_keys():
    """The keys of metalcow.conf."""
    source = (lint.ROOT / "efi/config/config.c").read_text(encoding="utf-8")
    names = re.search(r"\bsettings_names\[\] = \{(.*?)\};", source, re.S).group(1)
    return re.findall(r'"([a-z-]+)"', names)


def stick_page_complaints(page, text):
    """The page of the stick command beside its --help."""
    usage = lint.run(lint.ROOT / "tools/stick/metalcow-stick", "--help")
    options = re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", usage.partition("options:")[2])
    found = {tag for line in re.findall(r"^\.TP\n(.*)$", chapter_of(text, "OPTIONS"), re.M)
             for tag in re.findall(r"\\fB(--?[a-z-]+)\\fR", line)}
    yield from set_complaints(page, "option", found, set(options))


def key_page_complaints(page, text, keys):
    """The page of a file beside its keys."""
    keys = set(keys)
    yield from set_complaints(page, "key", set(tags(chapter_of(text, "KEYS"))), keys)


def page_warnings(path):
    """What man says of a page."""
    result = subprocess.run(["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],
                            capture_output=True, text=True, check=False,
                            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    return [f"{pathlib.Path(path).name}: {line}" for line in result.stderr.splitlines()] + (
        [f"{path}: man ends with {result.returncode}"] if result.returncode else [])


def page_complaints(path):
    """One page, with the programs that it is about."""
    text = plain(path.read_text(encoding="utf-8"))
    return [*page_warnings(str(path)), *page_contents(path.name, text)]


def page_contents(name, text):
    if name.startswith("metalcow.1"):
        return host_page_complaints(name, text, lint.run(lint.BUILD / "host/metalcow", "help",
                                                         "--list"))
    if name.startswith("metalcow.efi.8"):
        commands = (lint.ROOT / "efi/app/commands.c").read_text(encoding="utf-8")
        return firmware_page_complaints(name, text, commands)
    if name.startswith("metalcow-stick.8"):
        return stick_page_complaints(name, text)
    if name.startswith("metalcow.conf.5"):
        return key_page_complaints(name, text, settings_keys())
    return key_page_complaints(name, text, [key for key, _ in disk_keys()])


def test_doc_man_pages():
    pages = sorted((lint.ROOT / "tools/man").glob("*.[1-8]"))
    cases.check_equal([page.name for page in pages],
                      ["metalcow-entry.5", "metalcow-stick.8", "metalcow.1", "metalcow.conf.5",
                       "metalcow.efi.8"],
                      "the man pages")
    lint.check_none([complaint for page in pages for complaint in page_complaints(page)],
                    "man pages")


def sample_complaints(path):
    path = path.relative_to(lint.ROOT)
    if path.suffix == ".commit":
        message = re.sub(r"^Refused: .*\n", "", (lint.ROOT / path).read_text(encoding="utf-8"))
        return list(message_complaints(message))
    if re.match(r"\.\d", path.suffix):
        return page_complaints(lint.ROOT / path)
    return text_complaints(path) if path.suffix == ".md" else source_complaints(path)


def test_doc_samples_are_refused():
    lint.check_samples("doc", sample_complaints)


def test_doc_numbers_without_a_text_are_refused():
    """In parts, so that the words themselves are in no file of the repository."""
    for words in (("hazard", "W7"), ("Hazards", "F9"), ("design,", "section 4"),
                  ("design's", "section 4"), ("convention", "10"), ("conventions", "9 and 11")):
        text = " ".join(words)
        cases.check(any("names no text of the repository" in line
                        for line in citation_complaints(f"/* Why this is so ({text}). */")),
                    f"'{text}' is not refused")


def test_doc_references_of_sources():
    paths = [path for path in tracked()
             if (path.suffix in SOURCES or path.name == "Makefile") and not is_sample(path)]
    cases.check(len(paths) > 300, f"only {len(paths)} sources were found")
    lint.check_none([complaint for path in paths if path != pathlib.Path("tests/lint/test_doc.py")
                     for complaint in source_complaints(path)], "references")


def test_doc_texts():
    paths = [path for path in tracked() if path.suffix == ".md" and not is_sample(path)]
    for name in ("README", "DESIGN", "HAZARDS", "SECURITY", "CONTRIBUTING", "CHANGELOG"):
        cases.check(pathlib.Path(f"{name}.md") in paths, f"there is no {name}.md")
    lint.check_none([complaint for path in paths for complaint in text_complaints(path)], "texts")


def test_doc_commit_messages():
    if not (lint.ROOT / ".git").exists():
        return  # a tree without history has no subjects
    log = subprocess.run(["git", "log", "--no-merges", "--format=%ct%n%B%x00"], cwd=lint.ROOT,
                         capture_output=True, text=True, check=True).stdout
    complaints = []
    for record in log.split("\0"):
        time, _, message = record.strip("\n").partition("\n")
        if time and int(time) >= STAGE_BEGIN:
            complaints += message_complaints(message)
    lint.check_none(complaints, "commit messages")


if __name__ == "__main__":
    cases.main(globals())
