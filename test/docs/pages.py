"""The pages of the documentation, and what is fenced in them."""

import dataclasses
import pathlib
import re
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"<!-- (run in the lab|not run: [^>]+) -->")


def name_of(page):
    return str(page.relative_to(ROOT))


@dataclasses.dataclass
class Block:
    page: pathlib.Path
    line: int  # Of its fence.
    language: str
    text: str
    mark: str  # "run in the lab", "not run: REASON", or nothing.

    @property
    def place(self):
        return f"{name_of(self.page)}:{self.line}"


def blocks(page, language=None):
    """The fenced blocks of a page, in its order."""
    found = []
    open_block = None
    mark = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if open_block is not None:
            if line.strip() == "```":
                found.append(open_block)
                open_block = None
                mark = ""
            else:
                open_block.text += line + "\n"
        elif match := re.fullmatch(r"```(\w*)", line.strip()):
            open_block = Block(page, number, match[1], "", mark)
        elif match := MARK.fullmatch(line.strip()):
            mark = match[1]
        elif line.strip():
            mark = ""
    if open_block is not None:
        raise ValueError(f"{open_block.place}: is not closed")
    return [block for block in found if language in (None, block.language)]


def is_whole(text):
    if re.search(r"\\\s*$", text):
        return False
    read = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    return read.returncode == 0


def commands(block):
    """The commands of a shell's block, each as it stands there; ValueError where the shell cannot
    read it."""
    found = []
    command = ""
    for line in block.text.splitlines():
        if not command and (not line.strip() or line.lstrip().startswith("#")):
            continue
        command += line + "\n"
        if is_whole(command):
            found.append(command.rstrip("\n"))
            command = ""
    if command:
        raise ValueError(f"{block.place}: the shell cannot read: {command}")
    return found


def words_of(command):
    return shlex.split(command, comments=True)


def files_of(page):
    """Files that a page gives: blocks of YAML that begin with a comment that is a name."""
    files = {}
    for block in blocks(page, "yaml"):
        if match := re.match(r"# (\S+\.ya?ml)\n", block.text):
            files[match[1]] = block.text
    return files
