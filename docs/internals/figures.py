#!/usr/bin/env python3
"""Figures of a Rust project for models.md, from its files alone.

Usage: docs/internals/figures.py FOLDER...      (folders of sources, such as `src core/src`)

Sources are expected as rustfmt writes them. Folders named tests, benches, examples and target are left out.
"""
import os
import re
import sys
from collections import Counter, defaultdict

SKIPPED = {"tests", "benches", "examples", "target"}
FUNCTION = re.compile(
    r"^( *)(pub(\([a-z: ]+\))? )?(default )?(const )?(async )?(unsafe )?(extern \"[^\"]*\" )?fn \w+"
)
POSITION = re.compile(r"\.(get|try_get|value)(::<[^(]*>)?\(\d+\)")
UNSAFE = re.compile(r"\bunsafe\b *(\{|fn|impl|extern)")
REGISTRY = re.compile(r"^ *(pub(\(\w+\))? )?static \w+: (std::sync::)?(OnceLock|OnceCell)<", re.M)
DECLARED = re.compile(r"^( *)(?:unsafe )?extern \"C[^\"]*\" \{$(.*?)^\1\}$", re.M | re.S)
PLAIN_NAMES = {"mod.rs", "lib.rs", "main.rs", "tests.rs", "error.rs", "build.rs"}


def sources(folders):
    found = {}
    for folder in folders:
        for place, below, names in os.walk(folder):
            below[:] = [name for name in below if name not in SKIPPED]
            for name in names:
                if name.endswith(".rs"):
                    path = os.path.join(place, name)
                    with open(path, encoding="utf-8", errors="replace") as file:
                        found[path] = file.read()
    return found


def function_lengths(text):
    """From a line with `fn` to the closing brace with the same indentation; declarations have no body and do not count."""
    lengths, start, indent, has_body = [], None, "", False
    for number, line in enumerate(text.splitlines()):
        if start is None:
            match = FUNCTION.match(line)
            if match and not line.endswith((";", "}")):
                start, indent, has_body = number, match.group(1), line.endswith("{")
        elif not has_body:
            has_body = line.endswith("{")
            if line.endswith((";", "}")):
                start = None
        elif line == indent + "}":
            lengths.append(number - start + 1)
            start = None
    return lengths


def crate_root(path):
    """The folder with lib.rs or main.rs above a file."""
    place = os.path.dirname(path)
    while place and not any(os.path.exists(os.path.join(place, name)) for name in ("lib.rs", "main.rs")):
        place = os.path.dirname(place)
    return place


def circles(files):
    """Files that reach themselves through `crate::` paths; a module stands for its file, a parent is no dependency."""
    modules = {}
    for path in files:
        root = crate_root(path)
        name = os.path.relpath(path, root or ".")[:-3].replace(os.sep, "::")
        modules[(root, re.sub(r"(^|::)mod$", "", name))] = path
    uses = defaultdict(set)
    for (root, name), path in modules.items():
        text = re.split(r"#\[cfg\(test\)\]\s*mod tests", re.sub(r"//.*", "", files[path]))[0]
        for match in re.finditer(r"\bcrate::((?:\w+::)*)(\w+|\{([^}]*)\})", text):
            head, tail = match.group(1), match.group(3) or match.group(2)
            for part in tail.split(","):
                words = (head + part.strip()).split("::")
                while words and (root, "::".join(words)) not in modules:
                    words.pop()
                target = modules.get((root, "::".join(words)))
                if words and target and target != path:
                    uses[path].add(target)
    order, low, stack, result = {}, {}, [], []

    def visit(node):
        work = [(node, iter(uses[node]))]
        order[node] = low[node] = len(order)
        stack.append(node)
        while work:
            here, rest = work[-1]
            for other in rest:
                if other not in order:
                    order[other] = low[other] = len(order)
                    stack.append(other)
                    work.append((other, iter(uses[other])))
                    break
                if other in stack:
                    low[here] = min(low[here], order[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[here])
                if low[here] == order[here]:
                    group = []
                    while True:
                        group.append(stack.pop())
                        if group[-1] == here:
                            break
                    if len(group) > 1:
                        result.append(group)

    for node in modules.values():
        if node not in order:
            visit(node)
    return result


def main():
    files = sources(sys.argv[1:])
    lines = {path: text.count("\n") for path, text in files.items()}
    lengths = [length for text in files.values() for length in function_lengths(text)]
    long = sum(1 for length in lengths if length > 60)
    unsafe = [path for path, text in files.items() if UNSAFE.search(text)]
    rooms = Counter(os.sep.join(path.split(os.sep)[:2]) for path in unsafe)
    blocks = sum(len(re.findall(r"\bunsafe *\{", text)) for text in files.values())
    reasons = sum(len(re.findall(r"// *SAFETY", text)) for text in files.values())
    folders = Counter(os.path.dirname(path) for path in files)
    names = Counter(os.path.basename(path) for path in files)
    twice = sum(count for name, count in names.items() if count > 1 and name not in PLAIN_NAMES)
    positions = {path: len(POSITION.findall(text)) for path, text in files.items()}
    found = circles(files)
    longest = max(lines, key=lines.get)
    print(f"files, lines                            {len(files)}, {sum(lines.values())}")
    print(f"functions over 60 lines                 {long} of {len(lengths)} ({100 * long / len(lengths):.1f} %)")
    print(f"files over 500 lines                    {sum(1 for n in lines.values() if n > 500)}")
    print(f"longest file                            {lines[longest]} ({longest})")
    print(f"files with unsafe, by room              {len(unsafe)}: {dict(rooms.most_common())}")
    print(f"unsafe blocks, SAFETY comments          {blocks}, {reasons}")
    declared = sum(len(re.findall(r"\bfn \w+", block[1])) for text in files.values() for block in DECLARED.findall(text))
    print(f"C functions declared by hand            {declared}")
    allowed = sum(len(re.findall(r"(allow|expect)\([^)]*dead_code", text)) for text in files.values())
    print(f"allowances of dead code                 {allowed}")
    print(f"files in the fullest folder             {folders.most_common(1)[0]}")
    print(f"columns read by position                {sum(positions.values())} in {sum(1 for n in positions.values() if n)} files")
    registries = sum(len(REGISTRY.findall(text)) for text in files.values())
    print(f"statics that are set at run time        {registries}")
    print(f"files whose name another file has       {twice}")
    print(f"cycles of files, files in them          {len(found)}, {sum(len(group) for group in found)}")


main()
