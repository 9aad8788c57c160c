"""The one thing both interpreters lack without pytest: an error that must come."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def raises(error: "Any", function: "Any", *arguments: object) -> "Any":
    """Calls `function`; returns the error of exactly this class that it raises, fails when it raises none."""
    try:
        function(*arguments)
    except error as caught:
        if type(caught) is not error:
            raise
        return caught
    raise AssertionError(f"{error} did not come")


def says(part: str, error: Exception) -> None:
    """That the text of `error` contains `part`."""
    assert part in str(error), str(error)
