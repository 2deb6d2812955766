"""A client written from docs/protocol.md alone, in Python 3 with its standard library only.

    peer.py walk URL CREDENTIAL_FILE OTHER_CREDENTIAL_FILE
        walks the published flow, verifies every reply, and prints one JSON line for each step
    peer.py canonical | short
        reads one JSON text a line, prints its RFC 8785 form, or what the short way of section 11 gives
"""

import hashlib
import hmac
import http.client
import json
import math
import re
import sys
import time
import urllib.parse
import uuid

MAX_SAFE_INTEGER = 2**53 - 1
MAX_REPLY_SKEW_MS = 300_000
REQUEST_ID = re.compile(r"[!-~]{1,128}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
HEX = re.compile(r"[0-9a-f]{64}")
STATUSES = {"ok", "accepted", "running", "done", "error"}
RESPONSE_MEMBERS = {"v", "request_id", "ts_ms", "server_id", "ok", "status", "result", "error", "signature"}


class Refused(Exception):
    """What arrived is no valid message, or a value has no canonical form."""


# --- Canonical JSON (section 2 and 11; RFC 8785) -------------------------------------------------

ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def canonical(value):
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return canonical_string(value)
    if isinstance(value, int):
        return str(value) if abs(value) <= MAX_SAFE_INTEGER else ecmascript_number(float(value))
    if isinstance(value, float):
        return ecmascript_number(value)
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    if isinstance(value, dict):
        # In the order of UTF-16 code units, which is not the order of code points.
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(canonical_string(name) + ":" + canonical(value[name]) for name in names) + "}"
    raise Refused("not a JSON value")


def canonical_string(text):
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise Refused("lone surrogate")
    return '"' + "".join(ESCAPES.get(c) or (c if c >= " " else "\\u%04x" % ord(c)) for c in text) + '"'


def ecmascript_number(number):
    """ECMA-262 Number::toString. repr() gives the same shortest digits, in another layout."""
    if not math.isfinite(number):
        raise Refused("not a finite double")
    if number == 0:
        return "0"
    if number < 0:
        return "-" + ecmascript_number(-number)
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    # The number is 0.DIGITS times ten to the power of `point`; zeros in front only move the point.
    significant = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + len(whole) - (len(whole + fraction) - len(significant))
    digits = significant.rstrip("0")
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    sign = "+" if point > 0 else "-"
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return "%s%se%s%d" % (digits[0], fraction, sign, abs(point - 1))


def parse(data):
    """Bytes to a value, refusing what section 2 refuses."""
    def members(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refused("duplicate member name")
        if "__proto__" in found:
            raise Refused("the name __proto__")
        return found

    def integer(text):
        return int(text) if len(text) <= 17 and abs(int(text)) <= MAX_SAFE_INTEGER else float(text)

    def constant(text):
        raise Refused(text + " is not JSON")

    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=members, parse_int=integer, parse_constant=constant)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(str(error)) from None


# --- Messages (sections 1 to 3) ------------------------------------------------------------------

def mac(secret, text):
    return hmac.new(secret.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).hexdigest()


def signed_bytes(message, secret, to_text=canonical):
    text = to_text(message)
    return (text[:-1] + ',"signature":"' + mac(secret, text) + '"}').encode("utf-8")


def ascii_text(message):
    """The short way of section 11, for messages that stay within its bounds."""
    return json.dumps(message, separators=(",", ":"), sort_keys=True)


def check_response(message):
    """The nine members of section 1, no others."""
    def require(holds, what):
        if not holds:
            raise Refused("reply: " + what)

    require(isinstance(message, dict), "must be an object")
    require(set(message) == RESPONSE_MEMBERS, "members")
    require(message["v"] == "mcp/0.1", "v")
    require(isinstance(message["request_id"], str) and REQUEST_ID.fullmatch(message["request_id"]), "request_id")
    ts_ms = message["ts_ms"]
    require(type(ts_ms) is int and 0 <= ts_ms <= MAX_SAFE_INTEGER, "ts_ms")
    require(isinstance(message["server_id"], str) and NAME.fullmatch(message["server_id"]), "server_id")
    require(type(message["ok"]) is bool, "ok")
    require(message["status"] in STATUSES, "status")
    require(message["result"] is None or isinstance(message["result"], dict), "result")
    require(isinstance(message["error"], str) == (message["status"] == "error"), "error")
    require(message["error"] is None or re.match(r"[a-z_]+: ", message["error"]), "error is code: message")
    require(message["ok"] or message["status"] == "error", "ok false is an error")
    signature = message["signature"]
    require(isinstance(signature, str) and (signature == "" or HEX.fullmatch(signature)), "signature")


# --- A client (sections 5, 8, 9) -----------------------------------------------------------------

class Client:
    def __init__(self, url, credential, clock_error_ms=0):
        self.credential = credential
        self.clock_error_ms = clock_error_ms
        # What must be added to the own clock to get the server's.
        self.skew_ms = 0
        address = urllib.parse.urlsplit(url)
        self.path = address.path
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=40)

    def now_ms(self):
        return int(time.time() * 1000) + self.clock_error_ms + self.skew_ms

    def message(self, tool, args, request_id=None, **changed):
        message = {
            "v": "mcp/0.1",
            "request_id": request_id or str(uuid.uuid4()),
            "ts_ms": self.now_ms(),
            "client_id": self.credential["client_id"],
            "server_id": self.credential["server_id"],
            "tool": tool,
            "args": args,
            "nonce": str(uuid.uuid4()),
        }
        message.update(changed)
        return message

    def sign(self, message, to_text=canonical):
        return signed_bytes(message, self.credential["request_key"], to_text)

    def transmit(self, data, request_id, media_type="application/json"):
        """One message each way. Gives the reply with `verified` beside its members."""
        self.connection.request("POST", self.path, data, {"content-type": media_type})
        response = self.connection.getresponse()
        message = parse(response.read())
        check_response(message)
        return {**message, "http_status": response.status, "verified": self.verify(message, request_id)}

    def verify(self, message, request_id):
        """Section 8, last line. Without a signature a reply proves nothing and is never an answer."""
        if message["signature"] == "":
            if message["ok"]:
                raise Refused("an answer without a signature")
            return False
        text = canonical({name: value for name, value in message.items() if name != "signature"})
        if not hmac.compare_digest(mac(self.credential["response_key"], text), message["signature"]):
            raise Refused("reply: signature")
        if message["request_id"] != request_id:
            raise Refused("reply to another request")
        if message["server_id"] != self.credential["server_id"]:
            raise Refused("reply of another server")
        # `stale` is how a client with a wrong clock learns the right one.
        is_stale = not message["ok"] and message["error"].startswith("stale: ")
        if abs(message["ts_ms"] - self.now_ms()) > MAX_REPLY_SKEW_MS and not is_stale:
            raise Refused("reply is not fresh")
        return True

    def call(self, tool, args, request_id=None, to_text=canonical, **changed):
        message = self.message(tool, args, request_id, **changed)
        return self.transmit(self.sign(message, to_text), message["request_id"])

    def correct_clock(self, reply):
        self.skew_ms += reply["ts_ms"] - self.now_ms()


# --- The walk ------------------------------------------------------------------------------------

def report(step, reply, **facts):
    shown = {name: value for name, value in reply.items() if name != "signature"}
    print(json.dumps({"step": step, **shown, **facts}), flush=True)
    return reply


def poll_until_ended(client, step, job_id):
    while True:
        reply = report(step, client.call("poll_job", {"job_id": job_id, "wait_ms": 10_000}))
        if reply["status"] not in ("accepted", "running"):
            return reply


def discover(client):
    identity = report("server_identity", client.call("server_identity", {}, to_text=ascii_text))
    own = mac(client.credential["response_key"], "mcp fingerprint")[:32]
    report("fingerprint", identity, matches=hmac.compare_digest(own, identity["result"]["fingerprint"]))
    report("list_tools", client.call("list_tools", {}, to_text=ascii_text))


def sums(client):
    report("batch_sum", client.call("batch_sum", {"numbers": [1, 2, 3.5]}, to_text=ascii_text))
    report("batch_sum floats", client.call("batch_sum", {"numbers": [1.0, 2.0, 1e-05]}))
    report("batch_sum large", client.call("batch_sum", {"numbers": [1e21, 1e16, 2**53 + 2]}))
    report("batch_sum small", client.call("batch_sum", {"numbers": [5e-324, -0.0, 1.5e-7]}))
    report("invalid_args", client.call("batch_sum", {"numbers": []}))
    report("unknown_tool", client.call("no_such_tool", {}))


def not_canonical(client):
    """The server never tries a second canonical form of a message (section 11)."""
    report("json.dumps floats", client.call("batch_sum", {"numbers": [1.0, 2.0]}, to_text=ascii_text))
    report("integer no double holds", client.call("batch_sum", {"numbers": [2**53 + 1]}, to_text=ascii_text))


def attacks(client, other):
    message = client.message("batch_sum", {"numbers": [1, 2]})
    data = client.sign(message)
    report("tampered", client.transmit(data.replace(b"[1,2]", b"[1,9]"), message["request_id"]))
    report("captured", client.transmit(data, message["request_id"]))
    report("replayed", client.transmit(data, message["request_id"]))

    report("unknown client", client.call("batch_sum", {"numbers": [1]}, client_id="nobody"))
    report("key of another client", client.call("batch_sum", {"numbers": [1]}, client_id=other.credential["client_id"]))
    report("wrong_server", client.call("batch_sum", {"numbers": [1]}, server_id="another-server"))
    report("bad_envelope", client.call("batch_sum", {"numbers": [1]}, extra=1))
    body = client.sign(message)
    report("unsupported_media_type", client.transmit(body, message["request_id"], "text/plain"))


def wrong_clock(url, credential):
    late = Client(url, credential, clock_error_ms=-3_600_000)
    request_id = str(uuid.uuid4())
    refusal = report("stale", late.call("batch_sum", {"numbers": [1, 2]}, request_id))
    late.correct_clock(refusal)
    report("corrected", late.call("batch_sum", {"numbers": [1, 2]}, request_id), skew_ms=late.skew_ms)


def jobs(client, other):
    payload = {"name": "Zoë", "€": [1.0, 1e-05, 1e21], "\U0001f600": None, "\ufb33": True, "\x1f\n": "\x7f\u2028"}
    args = {"seconds": 4, "payload": payload}
    request_id = str(uuid.uuid4())
    accepted = report("start_long_task", client.call("start_long_task", args, request_id))
    job_id = accepted["result"]["job_id"]
    report("poll at once", client.call("poll_job", {"job_id": job_id}))
    ended = poll_until_ended(client, "poll", job_id)
    report("done", ended, is_payload=canonical(ended["result"]) == canonical(payload))
    report("retry", client.call("start_long_task", args, request_id), same_job=job_id)
    report("conflict", client.call("start_long_task", {"seconds": 2}, request_id))

    second = client.call("start_long_task", {"seconds": 20})
    second_id = second["result"]["job_id"]
    report("cancel_job", client.call("cancel_job", {"job_id": second_id}), cancelled_job=second_id)
    report("poll cancelled", client.call("poll_job", {"job_id": second_id}))
    report("list_jobs", client.call("list_jobs", {}), started=[job_id, second_id])

    report("foreign job", other.call("poll_job", {"job_id": job_id}, "same-id"))
    report("unknown job", other.call("poll_job", {"job_id": "unknown"}, "same-id"))
    report("foreign cancel", other.call("cancel_job", {"job_id": job_id}, "same-id"))
    report("foreign list", other.call("list_jobs", {}))


def walk(url, credential_file, other_file):
    with open(credential_file, encoding="utf-8") as file:
        credential = json.load(file)
    with open(other_file, encoding="utf-8") as file:
        other = Client(url, json.load(file))
    client = Client(url, credential)
    discover(client)
    sums(client)
    not_canonical(client)
    attacks(client, other)
    wrong_clock(url, credential)
    jobs(client, other)


def print_texts(to_text):
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(to_text(parse(line)).encode("utf-8") + b"\n")


if __name__ == "__main__":
    if sys.argv[1] == "walk":
        walk(*sys.argv[2:])
    else:
        print_texts({"canonical": canonical, "short": ascii_text}[sys.argv[1]])
