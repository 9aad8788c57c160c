"""What a unix machine knows of names without asking anybody. Loaded only by nodes whose broker has one."""

import os


def known_host(host: str) -> "str | None":
    """From /etc/hosts; `localhost` whatever is in there."""
    for words in _words("/etc/hosts"):
        if host in words[1:] and ":" not in words[0]:
            return words[0]
    return "127.0.0.1" if host == "localhost" else None


def nameserver() -> "tuple[str, int] | None":
    """The first of IPv4 in resolv.conf (or the file that OHM_NODE_RESOLV_CONF names); a port may follow after `#`."""
    for words in _words(os.getenv("OHM_NODE_RESOLV_CONF") or "/etc/resolv.conf"):
        if words[0] == "nameserver" and len(words) > 1 and ":" not in words[1]:
            ip, _, port = words[1].partition("#")
            return ip, int(port or 53)
    return None


def _words(path: str) -> "list[list[str]]":
    try:
        with open(path) as file:
            lines = file.read().split("\n")
    except OSError:
        return []
    return [line.split() for line in lines if line.strip() and line.strip()[0] != "#"]
