"""Runs the checks of modules under MicroPython: `micropython -m tests.unit.ohmcore.suite.run MODULE…`.

One line a check, `ok NAME` or `FAILED NAME` and the traceback; the exit status says whether all passed.
"""

import sys


def run(names: "list[str]") -> int:
    failures = 0
    for name in names:
        __import__(name)
        module = sys.modules[name]
        for attribute in sorted(dir(module)):
            if not attribute.startswith("test_"):
                continue
            try:
                getattr(module, attribute)()
            except Exception as error:  # noqa: BLE001 - a runner reports whatever a check raises
                failures += 1
                print("FAILED", attribute)  # noqa: T201 - the report
                sys.print_exception(error, sys.stdout)  # type: ignore[attr-defined] # MicroPython
            else:
                print("ok", attribute)  # noqa: T201 - the report
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
