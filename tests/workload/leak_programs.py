"""Random programs that allocate, link, forget and free: as a script, as C, and as a naive model.

A block is a number here and an address nowhere, so the model knows nothing of where blocks lie.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from memtwin.workload.places import Place, parse_value

VARIABLES = [f"v{i}" for i in range(6)]
SIZES = [0, 1, 8, 24, 40, 100, 1000, 5000]
MAPPED_BYTES = 200_000  # a mapping of its own: more than M_MMAP_THRESHOLD
Pointer = tuple[int, int] | None  # block and offset in it
Counts = dict[tuple[str, int], tuple[int, int]]  # (kind, line) -> blocks, bytes


@dataclass
class Made:
    """A block of the model."""

    size: int
    line: int
    words: dict[int, Pointer] = field(default_factory=dict)


class Program:
    """Lines of a script that P runs, and what it holds afterwards."""

    def __init__(self, seed: int, steps: int, sizes: list[int]) -> None:
        self.draw = random.Random(seed)
        self.sizes = sizes
        self.lines = ["start P"]
        self.values: dict[str, Pointer] = {}
        self.blocks: dict[int, Made] = {}
        self.made = 0
        self.grown: dict[int, int] = {}  # line of a realloc that enlarges -> bytes it had before
        for name in VARIABLES:
            self._say(f"store {name} NULL")
            self.values[name] = None
        for _ in range(steps):
            self.draw.choice([self._malloc, self._malloc, self._store, self._store, self._free,
                              self._realloc, self._store])()  # fmt: skip

    def _say(self, command: str) -> None:
        self.lines.append(f"@P {command}")

    def _new(self, size: int) -> Pointer:
        self.made += 1
        self.blocks[self.made] = Made(size, len(self.lines) + 1)
        return self.made, 0

    def _places(self) -> list[str]:
        """Every place that can be named: variables, and words of blocks they lead to."""
        found = list(VARIABLES)
        for name in VARIABLES:
            for place in self._words_of(name, self.values[name]):
                found.append(place)
                inner = self.pointer(parse_value(place))
                found += self._words_of(place, inner)
        return found

    def _words_of(self, name: str, pointer: Pointer) -> list[str]:
        if pointer is None or pointer[1]:
            return []
        last = self.blocks[pointer[0]].size - 8
        return [f"{name}[{at}]" for at in (0, 8, 64) if at <= last]

    def pointer(self, place: Place) -> Pointer:
        """What stands at a place."""
        found = self.values[place.name]
        for step in place.steps:
            assert found is not None
            found = self.blocks[found[0]].words.get(step)
        return (found[0], found[1] + place.plus) if found is not None else None

    def _put(self, text: str, pointer: Pointer) -> None:
        place = parse_value(text)
        if not place.steps:
            self.values[place.name] = pointer
            return
        holder = self.pointer(Place(place.name, place.steps[:-1]))
        assert holder is not None
        self.blocks[holder[0]].words[place.steps[-1]] = pointer

    def _malloc(self) -> None:
        place, size = self.draw.choice(self._places()), self.draw.choice(self.sizes)
        how = self.draw.choice(["malloc {} {}", "calloc {} {}", "memalign {} 64 {}"])
        pointer = self._new(size)
        self._say(how.format(place, size))
        self._put(place, pointer)

    def _store(self) -> None:
        places = self._places()
        to, value = self.draw.choice(places), self.draw.choice(places)
        pointer = self.pointer(parse_value(value))
        if pointer is None or self.draw.random() < 0.15:
            self._say(f"store {to} NULL")
            self._put(to, None)
            return
        plus = self.draw.choice([0, 0, 0, 8, 16, 4])
        if pointer[1] + plus >= max(self.blocks[pointer[0]].size, 1):
            plus = 0
        self._say(f"store {to} {value}" + (f"+{plus}" if plus else ""))
        self._put(to, (pointer[0], pointer[1] + plus))

    def _held_by_variables_alone(self) -> list[str]:
        """Variables that point to the start of a block which no block points to."""
        inside = {
            word[0] for block in self.blocks.values() for word in block.words.values() if word
        }
        return [
            name for name, pointer in self.values.items()
            if pointer is not None and pointer[1] == 0 and pointer[0] not in inside
        ]  # fmt: skip

    def _forget(self, block: int, but: str = "") -> None:
        """No variable may point to what goes: valgrind gives addresses out later than glibc."""
        for name, pointer in self.values.items():
            if pointer is not None and pointer[0] == block and name != but:
                self._say(f"store {name} NULL")
                self.values[name] = None

    def _free(self) -> None:
        names = self._held_by_variables_alone()
        if not names:
            return
        name = self.draw.choice(names)
        pointer = self.values[name]
        assert pointer is not None
        self._forget(pointer[0], but=name)
        self._say(f"free {name}")
        self._say(f"store {name} NULL")
        self.values[name] = None
        del self.blocks[pointer[0]]

    def _realloc(self) -> None:
        names = self._held_by_variables_alone()
        if not names:
            return
        name, size = self.draw.choice(names), self.draw.choice(self.sizes[1:])
        pointer = self.values[name]
        assert pointer is not None
        self._forget(pointer[0], but=name)
        old = self.blocks.pop(pointer[0])
        moved = self._new(size)
        assert moved is not None
        words = {at: word for at, word in old.words.items() if at + 8 <= min(size, old.size)}
        self.blocks[moved[0]].words = words
        self._say(f"realloc {name} {size}")
        if size > old.size:
            self.grown[len(self.lines)] = old.size
        self.values[name] = moved

    # what it is held against

    def states(self) -> tuple[dict[int, str], bool]:
        """Kind of each block, and whether lost blocks form a loop: then leaders depend on order."""
        hard, soft = set[int](), set[int]()
        roots = [pointer for pointer in self.values.values() if pointer]
        wanted = list(roots)
        while wanted:
            block, offset = wanted.pop()
            if offset == 0 and block not in hard:
                hard.add(block)
                wanted += self._led(block)
        wanted = roots + [pointer for block in hard for pointer in self._led(block)]
        while wanted:
            block, _ = wanted.pop()
            if block not in hard | soft:
                soft.add(block)
                wanted += self._led(block)
        lost = self.blocks.keys() - hard - soft
        pointed = {to for block in lost for to, _ in self._led(block) if to != block}
        kinds = dict.fromkeys(hard, "reachable") | dict.fromkeys(soft, "possible")
        kinds |= {block: "indirect" if block in pointed else "definite" for block in lost}
        return kinds, self._has_loop(lost)

    def _led(self, block: int) -> list[tuple[int, int]]:
        return [word for word in self.blocks[block].words.values() if word]

    def _has_loop(self, lost: set[int]) -> bool:
        left = set(lost)
        while left:
            pointed = {to for block in left for to, _ in self._led(block) if to != block}
            if not left - pointed:
                return True
            left &= pointed
        return False

    def counts(self) -> Counts:
        """Blocks and bytes by kind and line, as the model has them."""
        kinds, _ = self.states()
        found: Counts = {}
        for number, block in self.blocks.items():
            key = kinds[number], block.line
            blocks, size = found.get(key, (0, 0))
            found[key] = blocks + 1, size + block.size
        return found

    def as_c(self) -> str:
        """The same program in C; a line of it has the number of the script's line.

        What realloc adds is wiped, and the stack at the end: stale words are no pointers.
        """
        declared = ", ".join(f"*{name}" for name in VARIABLES)
        lines = [
            _in_c(line) + (_wiped(line, self.grown[n]) if n in self.grown else "")
            for n, line in enumerate(self.lines, 1)
        ]
        head = "#include <stdlib.h>\n#include <string.h>\n"
        head += "static void wipe(void) { char old[9999]; memset(old, 0, sizeof old); }\n"
        head += f"static void {declared};\nint main(void)\n{{\n"
        return head + '#line 1 "script"\n' + "\n".join(lines) + "\nwipe();\nreturn 0;\n}\n"


def without_leaders(counts: Counts) -> Counts:
    """Definitely and indirectly lost as one kind."""
    found: Counts = {}
    for (kind, line), (blocks, size) in counts.items():
        key = "lost" if kind in ("definite", "indirect") else kind, line
        others, other_size = found.get(key, (0, 0))
        found[key] = blocks + others, size + other_size
    return found


def _in_c(line: str) -> str:
    if not line.startswith("@P "):
        return ";"
    verb, *words = line.split()[1:]
    where = _c_value(words[0])
    if verb == "free":
        return f"free({where});"
    if verb == "store":
        return f"{where} = {_c_value(words[1])};"
    if verb == "calloc":
        return f"{where} = calloc(1, {words[1]});"
    if verb == "memalign":
        return f"if (posix_memalign((void **)&{where}, {words[1]}, {words[2]})) return 1;"
    inside = f"{where}, " if verb == "realloc" else ""
    return f"{where} = {verb}({inside}{words[1]});"


def _wiped(line: str, before: int) -> str:
    _, _, name, size = line.split()
    return f" memset((char *){name} + {before}, 0, {size} - {before});"


def _c_value(text: str) -> str:
    place = parse_value(text)
    found = place.name or "NULL"
    for step in place.steps:
        found = f"(*(void **)((char *){found} + {step}))"
    return f"((void *)((char *){found} + {place.plus}))" if place.plus else found
