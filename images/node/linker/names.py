"""Names that cost nothing, and names that are somebody else's."""

from __future__ import annotations

import array
import io
import keyword
import select
import socket

_STATIC = """
append args clear copy count end endswith extend find format from_bytes get index insert isalpha isdigit islower isspace isupper items join
key keys little lower lstrip main pop popitem readline replace reverse rfind rindex rsplit rstrip sep setdefault sort split start startswith
step stop strip to_bytes update upper value values bytecode builtins micropython abs all any bool bytearray bytes callable chr classmethod
const dict dir divmod eval exec getattr globals hasattr hash id int isinstance issubclass iter len list locals map next object open ord pow
print range repr round set setattr sorted staticmethod str sum super tuple type zip ArithmeticError AssertionError AttributeError
BaseException EOFError Ellipsis Exception GeneratorExit ImportError IndentationError IndexError KeyError KeyboardInterrupt LookupError
MemoryError NameError NoneType NotImplementedError OSError OverflowError RuntimeError StopIteration SyntaxError SystemExit TypeError
ValueError ZeroDivisionError
"""
IN_EVERY_ROM = tuple(_STATIC.split())
"""Of the list that belongs to the `.mpy` format (MicroPython's py/makeqstrdata.py, static_qstr_list): a file names these by number. What an
object of ours could be asked for by the interpreter or by asyncio under such a name is left out: close, read, readinto, remove, self,
send, throw, write."""

_COMMON = """
a2b_base64 accept acos acosh addressof appendleft argv asin asinh atan atan2 atanh b2a_base64 bind bytearray_at byteorder bytes_at
calcsize ceil center chdir choice compile copysign cos cosh degrees delattr deleter deque difference discard dump dumps enumerate erf erfc
errorcode exp expm1 fabs filter floor fmod frexp fromkeys frozenset gamma getcwd getrandbits getter getvalue gmtime group heapify heappop
heappush help hex ilistdir imag input intersection isdisjoint isenabled isfinite isinf isnan issubset issuperset ldexp lgamma listen load
loads localtime log log10 log2 match maxsize memoryview mktime modf namedtuple oct partition phase pi polar popleft print_exception
property radians randint random randrange real rect reversed rmdir rpartition search seed setter sin sinh sizeof sleep sleep_us slice
splitlines sqrt statvfs stderr stdin stdout sub symmetric_difference tan tanh ticks_cpu ticks_us time_ns trunc umount unhexlify uniform
union version version_info
"""
IN_MOST_ROMS = tuple(_COMMON.split())
"""Of modules that are in every usual build, for boards and for the unix port (array, binascii, collections, errno, heapq, io, json, math,
os, random, re, sys, time, uctypes): there they cost nothing either."""

_ASKED_FOR = "args close data errno fileno ioctl read readinto remove self send throw value write"
NEVER_GIVEN = frozenset((*_ASKED_FOR.split(), *keyword.kwlist))
"""The interpreter, a native base class or asyncio looks for these on any object."""

_MACHINE = """
active any cancel cancelled config connect coro data deinit digest done feed hexdigest hexlify ifconfig init ioctl ipoll irq isconnected
load_verify_locations mem_alloc mem_free modify off on poll push queue_read queue_write readblocks readinto recv recvfrom register remove
scan send sendto setblocking state status stream stream_ioctl sync txdone unregister update verify_mode wrap_socket write writeblocks
"""

FOREIGN = frozenset(_MACHINE.split()).union(
    *(
        dir(kind)
        for kind in (
            *(str, bytes, bytearray, memoryview, list, dict, tuple, set, int, float, slice, array.array),
            *(BaseException, OSError, StopIteration, UnicodeError, io.FileIO, io.TextIOWrapper, socket.socket, type(select.poll())),
            type(_ for _ in ()),
        )
    )
)
"""Attributes of objects that are not ours and that a node meets: those of the builtin types, of files, sockets, tasks, pins, …"""
