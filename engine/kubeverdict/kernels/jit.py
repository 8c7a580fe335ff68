"""All numba machinery: when to compile, with which settings, and where results are cached.

What only large input needs is imported where it is used: small answers must come at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

# Elementary steps that plain Python does in about the time that numba needs to be imported.
PLAIN_LIMIT = 300_000
# The same once numba is there: loading one kernel from the cache takes a few milliseconds.
_LOADED_LIMIT = 2_000
# The same where kernels would have to be compiled first, which takes longer than anything else.
_COMPILING_LIMIT = 10_000_000

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# numba counts references to each array of each argument at each call, atomically. That took more
# time than the work itself where kernels pass their working memory on to many small ones.
_UNCOUNTED = {**_OPTIONS, "_nrt": False}
# Passing dozens of arrays is no cheap call either, so kernels are compiled into their callers, but
# for the largest (in bytes of bytecode), which would take too long to compile in several places.
_INLINED = 1_700
_lock = threading.RLock()
_always_compiled = False
_done_plainly = 0  # steps, of all kernels of this process
# Small work that goes on and on is worth numba too: a process that has spent this many times what
# importing it takes will go on.
_PATIENCE = 3


class Kernel:
    """A function in two forms: ``plain`` Python, and the same compiled by numba.

    Calling a kernel runs the plain form, so kernels call one another by name in either form.
    """

    def __init__(self, function: FunctionType, options: dict[str, Any]) -> None:
        self.plain = function
        self._options = options
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any) -> Any:
        return self.plain(*args)

    def on(self, work: int) -> Callable[..., Any]:
        """The form to use for about ``work`` elementary steps."""
        global _done_plainly
        if _always_compiled or _pays(work):
            return self.compiled
        _done_plainly += work
        return self.plain

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The compiled form. numba specialises it at the first call with each set of types."""
        with _lock, _cache_directory() as cached:
            return self._compile(self._options | {"cache": True}, cached)

    @cached_property
    def inner(self) -> Callable[..., Any]:
        """The compiled form for other kernels to call: without an entry from Python, which would
        take as long to compile as the kernel itself."""
        with _lock:
            return self._compile(
                self._options | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            )

    def _compile(self, options: dict[str, Any], cached: Path | None = None) -> Callable[..., Any]:
        import numba

        code = self.plain.__code__
        if cached is not None:
            code = code.replace(co_filename=_copy_of_source(code.co_filename, cached))
        scope = dict(self.plain.__globals__)
        for name in code.co_names:
            if isinstance(scope.get(name), Kernel | Instruction):
                scope[name] = scope[name].inner
        twin = FunctionType(code, scope, self.plain.__name__)
        twin.__module__ = self.plain.__module__
        twin.__qualname__ = self.plain.__qualname__
        compiled: Callable[..., Any] = numba.njit(**options)(twin)
        return compiled


def _pays(work: int) -> bool:
    """Whether the compiled form is the faster one for so much work, all that it takes included."""
    going_on = _done_plainly > _PATIENCE * PLAIN_LIMIT
    if work <= (_LOADED_LIMIT if going_on or "numba" in sys.modules else PLAIN_LIMIT):
        return False
    return max(work, _done_plainly) > _COMPILING_LIMIT or _is_cached()


@cache
def _is_cached() -> bool:
    """Whether an earlier process has compiled kernels."""
    return cache_directory().exists()


def kernel(function: Callable[..., Any]) -> Kernel:
    """Declare a function over arrays as a kernel. It makes no arrays, and returns none: it works
    in memory that it is given, and nothing counts references."""
    assert isinstance(function, FunctionType)
    return Kernel(function, _UNCOUNTED | {"forceinline": len(function.__code__.co_code) < _INLINED})


def making_kernel(function: Callable[..., Any]) -> Kernel:
    """Declare a function that makes arrays as a kernel."""
    assert isinstance(function, FunctionType)
    return Kernel(function, _OPTIONS)


class Instruction:
    """A function of one word for which processors have an instruction: ``plain`` Python, and the
    LLVM intrinsic of that name, for kernels to call."""

    def __init__(self, name: str, plain: Callable[[Any], int]) -> None:
        self._name = name
        self._plain = plain

    def __call__(self, word: Any) -> int:
        return self._plain(word)

    @cached_property
    def inner(self) -> Any:
        """What stands for it in compiled kernels: uint64 to int64."""
        from numba import types
        from numba.extending import intrinsic

        name = self._name

        @intrinsic
        def emit(typing: Any, word: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                # The leading and trailing zeros of zero are 64, not undefined.
                more = () if name == "ctpop" else (context.get_constant(types.boolean, False),)
                return getattr(builder, name)(arguments[0], *more)

            return types.int64(types.uint64), generate

        return emit


@contextmanager
def compiled_only() -> Iterator[None]:
    """Use the compiled form of every kernel, however small the work."""
    global _always_compiled
    before = _always_compiled
    _always_compiled = True
    try:
        yield
    finally:
        _always_compiled = before


@contextmanager
def _cache_directory() -> Iterator[Path | None]:
    """Point numba at a cache of our own while a kernel is set up: yields
    :func:`cache_directory`, or None where the user has set another one of numba's.

    numba keys a cached kernel on the file that holds it and not on the kernels it calls, so a
    changed callee in another file would go unnoticed. The directory is named after the content
    of all of them.
    """
    from numba.core import config

    settings: Any = config
    before = settings.CACHE_DIR
    ours = None if before else cache_directory()
    if ours is not None:
        settings.CACHE_DIR = str(_writable(ours))
    try:
        yield ours
    finally:
        settings.CACHE_DIR = before


@cache
def _writable(directory: Path) -> Path:
    """``directory``, or a temporary copy of it where nothing can be written, as in an image whose
    file system is read-only: numba takes no other, not even to read."""
    from tempfile import TemporaryDirectory, TemporaryFile

    try:
        directory.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=directory).close()
    except OSError:
        import atexit
        import shutil

        temporary = TemporaryDirectory(prefix="kubeverdict-kernels-", ignore_cleanup_errors=True)
        atexit.register(temporary.cleanup)
        if directory.is_dir():
            shutil.copytree(directory, temporary.name, dirs_exist_ok=True)
        return Path(temporary.name)
    return directory


def _copy_of_source(path: str, cached: Path) -> str:
    """The path of a copy of a source file in the cache; ``path`` itself where none can be kept.

    numba also keys a cached kernel on the path of its file, and before 0.68 on its time. Every
    installation of one version must find the same, so that each user compiles once.
    """
    copy = cached / "source" / Path(path).name
    if not copy.exists():
        from tempfile import NamedTemporaryFile

        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=copy.parent) as written:
                written.write(Path(path).read_bytes())
                written.flush()
                os.chmod(written.name, 0o644)
                # Of several processes the first is right: its file, and so its time, stays.
                with suppress(FileExistsError):
                    os.link(written.name, copy)
        except OSError:
            return path
    return str(copy)


def cache_directory() -> Path:
    """Where compiled kernels of this version are kept.

    Each version of numba has a place of its own: it replaces what another one left.
    """
    import hashlib
    from importlib.metadata import version

    digest = hashlib.sha256(version("numba").encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubeverdict" / f"kernels-{digest.hexdigest()[:16]}"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(run: Callable[[int, int], None], count: int, threads: int | None = None) -> None:
    """Call ``run(first, stop)`` on slices that cover ``range(count)``, several at a time.

    Slices are smaller than a thread's even share, because rows differ in cost. Errors of any
    slice are raised here.
    """
    workers = min(threads or cores(), max(count, 1))
    if workers <= 1:
        run(0, count)
        return
    from concurrent.futures import ThreadPoolExecutor

    pieces = min(count, workers * 8)
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(run, edges[i], edges[i + 1]) for i in range(pieces)]:
            done.result()
