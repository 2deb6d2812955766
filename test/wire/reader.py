"""Reads messages as a peer in Python would, one a line in hexadecimal; one line of JSON for each.

    {"text": what a client signs, or null, "why": for what it was refused}
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))
sys.dont_write_bytecode = True

from peer import Refused, canonical, parse  # noqa: E402

MAX_DEPTH = 32
MAX_MEMBERS = 20_000
MEMBERS = {"v", "request_id", "ts_ms", "client_id", "server_id", "tool", "args", "nonce", "signature"}


def measure(value, depth=1):
    """Members of a value; refuses one that is nested too deep."""
    if not isinstance(value, (dict, list)):
        return 0
    if depth > MAX_DEPTH:
        raise Refused("nested too deep")
    items = list(value.values()) if isinstance(value, dict) else value
    own = len(value) if isinstance(value, dict) else 0
    return own + sum(measure(item, depth + 1) for item in items)


def signed_text(data):
    message = parse(data)
    if not isinstance(message, dict) or set(message) != MEMBERS:
        raise Refused("members")
    if not isinstance(message["args"], dict):
        raise Refused("args")
    if measure(message) > MAX_MEMBERS:
        raise Refused("too many members")
    return canonical({name: value for name, value in message.items() if name != "signature"})


def main():
    for line in sys.stdin:
        try:
            answer = {"text": signed_text(bytes.fromhex(line))}
        except (Refused, RecursionError, ValueError) as error:
            answer = {"text": None, "why": repr(error)}
        print(json.dumps(answer), flush=True)


main()
