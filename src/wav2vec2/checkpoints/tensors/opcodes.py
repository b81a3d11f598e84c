"""Read the opcodes of a pickle without executing one, before the unpickler sees them.

A few bytes of a pickle can ask the unpickler for gigabytes (a memo of 200 million places), for an endless loop (a key
made of tuples of the same tuples) or for the end of the C stack (a key nested a million times). All this can be seen in
the opcodes. What they mean is taken from ``pickletools``: the layout of each argument and the effect on the stack.
"""

import mmap
import pickle
import pickletools
from dataclasses import dataclass

_MOST_OPCODES = 2_000_000
_MOST_KEY = 64
_MOST_MEMO_AHEAD = 1000
# Extensions are registered outside of the pickle, buffers lie outside of it.
_REFUSED = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


@dataclass(frozen=True)
class _Opcode:
    """fixed: bytes of the argument; length: bytes of its length instead; lines: it is so many lines of text instead.

    pops: values taken from the stack, below the mark if to_mark. pushes: values put there.
    """

    name: str
    fixed: int
    length: int
    lines: int
    to_mark: bool
    pops: int
    pushes: int
    plain: bool
    """It takes nothing, puts one value on the stack, and its argument is fixed: most opcodes are of this kind."""


def _table() -> dict[int, _Opcode]:
    table = {}
    for info in pickletools.opcodes:
        size = info.arg.n if info.arg else 0
        lines = 0
        if size == pickletools.UP_TO_NEWLINE:
            lines = 2 if info.arg is pickletools.stringnl_noescape_pair else 1
        before = list(info.stack_before)
        to_mark = pickletools.markobject in before
        table[ord(info.code)] = _Opcode(
            name=info.name,
            fixed=max(0, size),
            length=_LENGTH_BYTES.get(size, 0),
            lines=lines,
            to_mark=to_mark,
            pops=before.index(pickletools.markobject) if to_mark else len(before),
            pushes=len(info.stack_after),
            plain=size >= 0
            and not before
            and len(info.stack_after) == 1
            and info.name not in {"MARK", "FRAME", *_REFUSED, *_MEMO},
        )
    return table


_OPCODES = _table()


class Scan:
    """The opcodes of one pickle, checked one after another; ``end`` is where the pickle ends.

    On the stack, each value is represented by the number of values that hashing it would visit: 1, and more for a
    tuple. What an object of a class hashes to is not the pickle's business, because every class is a stand-in.

    Raises:
        pickle.UnpicklingError: the pickle is cut short, contradicts itself, or is unlike that of any model.
    """

    def __init__(self, data: bytes | mmap.mmap, begin: int = 0, most: int = 1 << 28) -> None:
        self._data, self._limit = data, min(len(data), begin + most)
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[int, int] = {}
        position = begin
        for count in range(_MOST_OPCODES):
            code = data[position] if position < self._limit else -1
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise pickle.UnpicklingError("its pickle is cut short or damaged")
            argument = position + 1
            if opcode.plain:
                position = argument + opcode.fixed
                self._stack.append(1)
                continue
            position = self._after(argument, opcode)
            if opcode.name == "STOP":
                self.end = position
                return
            self._step(opcode, argument, position, count)
        raise pickle.UnpicklingError("its pickle is larger than in any model")

    def _after(self, position: int, opcode: _Opcode) -> int:
        """Return where the argument at ``position`` ends."""
        if opcode.length:
            size = int.from_bytes(self._data[position : position + opcode.length], "little")
            position += opcode.length + size
        elif opcode.name == "FRAME":
            size = int.from_bytes(self._data[position : position + 8], "little")
            position += 8
            if position + size > self._limit:
                raise pickle.UnpicklingError("its pickle is cut short")
        else:
            position += opcode.fixed
        for _ in range(opcode.lines):
            position = self._data.find(b"\n", position, self._limit) + 1
            if not position:
                raise pickle.UnpicklingError("its pickle is cut short")
        if position > self._limit:
            raise pickle.UnpicklingError("its pickle is cut short")
        return position

    def _step(self, opcode: _Opcode, begin: int, end: int, count: int) -> None:
        name, stack = opcode.name, self._stack
        if name == "MARK":
            self._marks.append(len(stack))
            return
        if name in _REFUSED:
            raise pickle.UnpicklingError(f"its pickle uses {name}, which no checkpoint does")
        if name in _MEMO:
            self._remember(name, begin, end, count)
            return
        taken: list[int] = []
        if name == "POP" and self._marks and self._marks[-1] == len(stack):
            self._marks.pop()  # the unpickler takes a mark on top for a value
            return
        if opcode.to_mark:
            if not self._marks:
                raise pickle.UnpicklingError("its pickle is damaged")
            mark = self._marks.pop()
            taken = stack[mark:]
            del stack[mark:]
        if len(stack) - (self._marks[-1] if self._marks else 0) < opcode.pops:
            raise pickle.UnpicklingError("its pickle is damaged")
        below = stack[len(stack) - opcode.pops :]
        del stack[len(stack) - opcode.pops :]
        self._refuse_large_keys(name, below, taken)
        weight = 1
        if name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"):
            weight = min(1 + sum(taken) + sum(below), 1 << 40)
        elif name == "DUP":
            weight = below[0]
        stack += [weight] * opcode.pushes

    def _refuse_large_keys(self, name: str, below: list[int], taken: list[int]) -> None:
        keys: list[int] = []
        if name == "SETITEM":
            keys = below[1:2]
        elif name in ("SETITEMS", "DICT"):
            keys = taken[::2]
        elif name in ("ADDITEMS", "FROZENSET"):
            keys = taken
        if max(keys, default=0) > _MOST_KEY:
            raise pickle.UnpicklingError("its pickle has a key that is nested more than in any model")

    def _remember(self, name: str, begin: int, end: int, count: int) -> None:
        """Follow an opcode that stores the top of the stack in the memo, or fetches it from there."""
        if name == "MEMOIZE":
            place = len(self._memo)
        elif name in ("PUT", "GET"):
            text = self._data[begin : min(end, begin + 20)].strip()
            if not text.isdigit():
                raise pickle.UnpicklingError("its pickle is damaged")
            place = int(text)
        else:
            place = int.from_bytes(self._data[begin:end], "little")
        if name.endswith("GET"):
            if place not in self._memo:
                raise pickle.UnpicklingError("its pickle is damaged")
            self._stack.append(self._memo[place])
            return
        if place > 2 * count + _MOST_MEMO_AHEAD or not self._stack:
            raise pickle.UnpicklingError("its pickle numbers its values unlike any model")
        self._memo[place] = self._stack[-1]
