"""A client of Waybill servers: one file, Python 3.9 or later, nothing but the standard library.

    client = Client.from_file("alice.json")
    client.call("batch_sum", {"numbers": [1, 2, 3.5]})

Sections (§) are those of docs/protocol.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import json
import math
import os
import random
import re
import socket
import stat
import sys
import threading
import time
import urllib.parse
import uuid
import zlib
from dataclasses import dataclass
from typing import Any, Callable, Mapping

__all__ = ["Client", "ClientError", "Job", "JobUpdate", "JsonError", "NotAJob", "ProtocolError", "SetupError",
           "WaybillError", "canonical", "parse", "sign", "verify"]

V = "mcp/0.1"
MAX_SAFE_INTEGER = 2**53 - 1
MAX_BYTES, MAX_DEPTH, MAX_MEMBERS = 1_048_576, 32, 20_000  # of a message (§2)
MAX_REPLY_SKEW_MS = 300_000
ATTEMPT_SECONDS = 35.0  # above what a server may take for a direct tool or a held poll
HOLD_MS, WATCH_MS = 15_000, 2_000  # how long a poll is held; the same while somebody watches
MAX_CREDENTIAL_BYTES = 65_536

# Codes of refusals (§8), and whether the same call, under the same request_id, can succeed later.
CODES = {
    "bad_envelope": False, "too_large": False, "unsupported_media_type": False, "bad_signature": False,
    "wrong_server": False, "stale": True, "replayed": True, "in_progress": True, "request_id_conflict": False,
    "unknown_tool": False, "forbidden": False, "invalid_args": False, "not_found": False, "rate_limited": True,
    "busy": True, "deadline_exceeded": False, "cancelled": False, "job_failed": False, "internal": False,
}
# Codes of failures that no server sent.
OWN_CODES = {"connection": True, "timeout": True, "reply_unverified": False}
# How often one kind of setback is met before it ends a call; any other code ends it at once. A second
# `stale` says that a corrected clock does not help; one forged reply must not be able to end a call.
ATTEMPTS: dict[str, float] = {"connection": 6, "timeout": 6, "reply_unverified": 4, "stale": 2, "replayed": 6,
                              "in_progress": math.inf, "rate_limited": 6, "busy": 6}
PASSING = ("connection", "timeout", "rate_limited", "busy")

REQUEST_ID = re.compile(r"[!-~]{1,128}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
TOOL = re.compile(r"[A-Za-z0-9_./-]{1,128}")
SIGNATURE = re.compile(r"([0-9a-f]{64})?")
GENERATED_KEY = re.compile(r"wb_([A-Za-z0-9_-]{43})([0-9a-f]{8})")


class JsonError(ValueError):
    """A text or value that no message may hold (§2)."""


class SetupError(ValueError):
    """A credential that cannot be used. The message never holds a secret."""


class NotAJob(TypeError):
    """`start` of a tool that is no job: it has run, and this is its `result`."""

    def __init__(self, tool: str, result: dict[str, Any]) -> None:
        super().__init__(f"{tool} is no job: it has run, use call()")
        self.result = result


class WaybillError(Exception):
    """A call without a result. `retryable`: the same call, under the same request_id, can succeed later."""

    def __init__(self, code: str, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.result = code, message, result
        self.retryable = CODES.get(code, False) or OWN_CODES.get(code, False)


class ProtocolError(WaybillError):
    """What the server said no to, or why a job failed; it came signed. `code` is of the table of §8."""


class ClientError(WaybillError):
    """No answer that can be believed. `code`: connection, timeout or reply_unverified (§8, last line)."""


# --- Canonical JSON (§2, §11; RFC 8785) ---

ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
ESCAPED = re.compile('["\\\\\x00-\x1f]')
SURROGATE = re.compile("[\ud800-\udfff]")
STRUCTURE = re.compile(r'\\.|["\[\]{}:]', re.DOTALL)


def canonical(value: Any) -> str:
    """The RFC 8785 text of a value. Raises JsonError for what no message may hold."""
    return _write(value, MAX_DEPTH)


def _write(value: Any, depth_left: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return "%d" % value if abs(value) <= MAX_SAFE_INTEGER else _number(_double(value))
    if isinstance(value, float):
        return _number(value)
    if depth_left == 0:
        raise JsonError("nested too deep")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_write(item, depth_left - 1) for item in value]) + "]"
    if not isinstance(value, dict):
        raise JsonError(f"{type(value).__name__} is not a type of JSON")
    if not all(isinstance(name, str) and name != "__proto__" for name in value):
        raise JsonError("a member name must be a string, and not __proto__")
    # The order of UTF-16 code units is not that of code points.
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join([_string(name) + ":" + _write(value[name], depth_left - 1) for name in names]) + "}"


def _string(text: str) -> str:
    if SURROGATE.search(text):
        raise JsonError("a lone surrogate")
    return '"' + ESCAPED.sub(lambda found: ESCAPES.get(found[0]) or "\\u%04x" % ord(found[0]), text) + '"'


def _double(value: int) -> float:
    """The double that says an integer. Another one must not be signed in its place."""
    if abs(value) >= 2**1024 or float(value) != value:
        raise JsonError("an integer that no double holds: send it as a string")
    return float(value)


def _number(number: float) -> str:
    """ECMA-262 Number::toString. repr() has the same shortest digits in another layout."""
    if not math.isfinite(number):
        raise JsonError("not a finite number")
    if number == 0:
        return "0"
    mantissa, _, exponent = float.__repr__(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    # The number is 0.DIGITS times ten to the power of `point`; zeros in front only move the point.
    significant = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + len(significant) - len(fraction)
    digits = significant.rstrip("0")
    minus = "-" if number < 0 else ""
    if len(digits) <= point <= 21:
        return minus + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return minus + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return minus + "0." + "0" * -point + digits
    return minus + digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + "e%+d" % (point - 1)


def parse(data: bytes) -> Any:
    """Bytes to a value; refuses with JsonError what §2 refuses. Integers beyond 2^53 are doubles."""
    if len(data) > MAX_BYTES:
        raise JsonError(f"over {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        _measure(text)
        value = json.loads(text, object_pairs_hook=_members, parse_int=_integer, parse_float=_finite,
                           parse_constant=_finite)
    except JsonError:
        raise
    except ValueError:
        value = JsonError("not JSON in UTF-8")
    # Raised here, where it has no context: the decoder's own error holds the whole text.
    if isinstance(value, JsonError):
        raise value
    if "\\u" in text:
        # UTF-8 has no surrogates; only an escape can bring in a lone one.
        _write(value, MAX_DEPTH)
    return value


def _measure(text: str) -> None:
    """Refuses depth and member counts before the parser recurses; linear in the text."""
    depth = members = 0
    in_string = False
    for found in STRUCTURE.finditer(text):
        mark = found[0]
        if mark == '"':
            in_string = not in_string
        elif in_string or mark[0] == "\\":
            continue
        elif mark == ":":
            members += 1
        else:
            depth += 1 if mark in "[{" else -1
        if depth > MAX_DEPTH or members > MAX_MEMBERS:
            raise JsonError(f"nested over {MAX_DEPTH} deep, or over {MAX_MEMBERS} object members")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or "__proto__" in found:
        raise JsonError("a member name twice in one object, or __proto__")
    return found


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= 17 and abs(int(text)) <= MAX_SAFE_INTEGER else _finite(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError("a number beyond the finite doubles")
    return number


# --- Messages (§1 to §3) ---

def _mac_of(key: str | hmac.HMAC, text: str) -> str:
    mac = key.copy() if isinstance(key, hmac.HMAC) else hmac.new(key.encode("utf-8"), None, hashlib.sha256)
    mac.update(text.encode("utf-8"))
    return mac.hexdigest()


def sign(message: Mapping[str, Any], key: str | hmac.HMAC) -> bytes:
    """The wire bytes of a message without `signature`, signed under a secret (§2)."""
    text = canonical(dict(message))
    return f'{text[:-1]},"signature":"{_mac_of(key, text)}"}}'.encode("utf-8")


def verify(message: Mapping[str, Any], key: str | hmac.HMAC) -> bool:
    """Does the signature hold under a secret? Compared in constant time (§3)."""
    text = canonical({name: value for name, value in message.items() if name != "signature"})
    return hmac.compare_digest(_mac_of(key, text).encode(), str(message["signature"]).encode("utf-8", "replace"))


def _text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MAX_SAFE_INTEGER and value == int(value)


RESPONSE: dict[str, Callable[[Any], bool]] = {
    "v": lambda value: value == V,
    "request_id": _text(REQUEST_ID),
    "ts_ms": _is_time,
    "server_id": _text(ID),
    "ok": lambda value: isinstance(value, bool),
    "status": lambda value: value in ("ok", "accepted", "running", "done", "error"),
    "result": lambda value: value is None or isinstance(value, dict),
    "error": lambda value: value is None or isinstance(value, str),
    "signature": _text(SIGNATURE),
}


def read_reply(data: bytes) -> dict[str, Any]:
    """Bytes to a well-formed reply (§1), of which nothing is proven yet. Raises JsonError."""
    reply = parse(data)
    if not isinstance(reply, dict) or reply.keys() != RESPONSE.keys():
        raise JsonError("not the nine members of a reply")
    wrong = [name for name, holds in RESPONSE.items() if not holds(reply[name])]
    if (reply["status"] == "error") != (reply["error"] is not None):
        wrong.append("error")
    if not reply["ok"] and reply["status"] != "error":
        wrong.append("status")
    if wrong:
        raise JsonError(f"a wrong {wrong[0]}")
    return reply


def _error_of(reply: dict[str, Any]) -> ProtocolError:
    code, colon, message = reply["error"].partition(":")
    if code in CODES and colon:
        return ProtocolError(code, message.lstrip(), reply["result"])
    return ProtocolError("internal", reply["error"], reply["result"])


def _printable(text: str) -> str:
    """Somebody else's text, made safe for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


# --- The client (§5, §8, §9) ---

class Client:
    """Calls tools of one server; threads may share it. Each reply is verified before it is believed.

    A call that got no answer is sent again under its request_id, with a new nonce and time, so nothing
    runs twice. `timeout` is in seconds, for one request with its retries; a job may take longer.
    """

    def __init__(self, credential: Mapping[str, Any], *, timeout: float = 60.0) -> None:
        """Raises SetupError for a credential that cannot be used."""
        problem = _credential_problem(credential)
        if problem is not None:
            raise SetupError(f"credential: {problem}")
        self.client_id: str = credential["client_id"]
        self.server_id: str = credential["server_id"]
        self.url: str = credential["url"]
        self.timeout = timeout
        # Keyed once: no attribute holds the text of a secret.
        self._request_key = hmac.new(credential["request_key"].encode("utf-8"), None, hashlib.sha256)
        self._response_key = hmac.new(credential["response_key"].encode("utf-8"), None, hashlib.sha256)
        self._offset_ms = 0

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, url: str | None = None, timeout: float = 60.0) -> Client:
        """The client of a file that `waybill clients add` wrote. Raises SetupError."""
        credential = _read_credential(os.fspath(path))
        return cls(credential if url is None else {**credential, "url": url}, timeout=timeout)

    def __repr__(self) -> str:
        return f"Client({self.client_id!r} of {self.server_id!r} at {self.url!r})"

    def call(self, tool: str, args: dict[str, Any] | None = None, *, request_id: str | None = None,
             timeout: float | None = None) -> dict[str, Any]:
        """Runs a tool and gives its result; for a job, its result once it has ended.

        Raises ProtocolError, ClientError; JsonError or ValueError for what no message can say.
        """
        reply = self._exchange(tool, args, request_id, timeout)
        job = self._job_of(reply)
        return _result_of(reply) if job is None else job.wait()

    def start(self, tool: str, args: dict[str, Any] | None = None, *, request_id: str | None = None,
              timeout: float | None = None) -> Job:
        """Starts a job; returns once the server has it on disk (§6). Raises like `call`, and NotAJob."""
        reply = self._exchange(tool, args, request_id, timeout)
        job = self._job_of(reply)
        if job is None:
            raise NotAJob(tool, _result_of(reply))
        return job

    def job(self, job_id: str) -> Job:
        """A job that was started before, perhaps by another process. Asks nothing yet."""
        return Job(self, job_id)

    def _job_of(self, reply: dict[str, Any]) -> Job | None:
        if reply["status"] not in ("accepted", "running"):
            return None
        job_id = (reply["result"] or {}).get("job_id")
        if not isinstance(job_id, str):
            raise ProtocolError("internal", "the server accepted a job without saying its job_id")
        return Job(self, job_id, known=True)

    def _exchange(self, tool: str, args: dict[str, Any] | None, request_id: str | None = None,
                  timeout: float | None = None, persistent: bool = False) -> dict[str, Any]:
        """One logical call: transmitted until a reply can be believed (§5). Gives a reply of ok: true."""
        request = self._request(tool, {} if args is None else args, request_id or str(uuid.uuid4()))
        seconds = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        met: dict[str, int] = {}
        before = ""
        while True:
            try:
                return self._transmit(request, deadline - time.monotonic(), request_id is None, "stale" not in met)
            except WaybillError as error:
                setback = error
            left = deadline - time.monotonic()
            if left <= 0:
                raise ClientError("timeout", f"no answer within {seconds:g} s{before}") from setback
            before = f"; before that: {setback.message}"
            nth = met[setback.code] = met.get(setback.code, 0) + 1
            delay = _retry_delay(setback, nth, persistent)
            if delay is None or delay >= left:
                raise setback
            if setback.code == "stale" and request_id is not None:
                # An id that was used before may get a reply from then: ask the time under one that was not.
                self._exchange("server_identity", {}, timeout=left)
            time.sleep(delay)

    def _request(self, tool: str, args: dict[str, Any], request_id: str) -> dict[str, Any]:
        """The members that stay the same in every transmission; `args` is a copy."""
        if not isinstance(args, dict):
            raise ValueError("args must be a dict")
        if not _text(TOOL)(tool) or not _text(REQUEST_ID)(request_id):
            raise ValueError("tool must be 1-128 of A-Z a-z 0-9 _ - . /, request_id 1-128 visible ASCII characters")
        same = {"v": V, "request_id": request_id, "client_id": self.client_id, "server_id": self.server_id,
                "tool": tool}
        # Read back with room for time, nonce and signature: too large or too deep is refused here.
        filled = {**same, "args": args, "ts_ms": MAX_SAFE_INTEGER, "nonce": "0" * 36}
        return {**same, "args": parse(sign(filled, self._request_key))["args"]}

    def _transmit(self, request: dict[str, Any], left: float, own_id: bool, clock_unknown: bool) -> dict[str, Any]:
        if left <= 0:
            raise ClientError("timeout", "no time was left to send it")
        data = sign({**request, "ts_ms": max(0, self._now_ms()), "nonce": str(uuid.uuid4())}, self._request_key)
        body = _post(self.url, data, min(left, ATTEMPT_SECONDS))
        reply = self._believed(body, request["request_id"], clock_unknown)
        if reply["ok"]:
            return reply
        refusal = _error_of(reply)
        # Nobody can have recorded a reply to an id that was made for this call; only such a one teaches.
        if refusal.code == "stale" and own_id and clock_unknown:
            self._offset_ms = int(reply["ts_ms"]) - int(time.time() * 1000)
        raise refusal

    def _believed(self, body: bytes, request_id: str, clock_unknown: bool) -> dict[str, Any]:
        """The reply, if it verifies, answers this request, comes from this server and is fresh (§8)."""
        try:
            reply = read_reply(body)
            holds = reply["signature"] != "" and verify(reply, self._response_key)
        except JsonError as error:
            raise ClientError("reply_unverified", f"the reply is no message of the protocol: {error}") from None
        if reply["signature"] == "":
            text = _printable(reply["error"] or reply["status"])[:256]
            raise ClientError("reply_unverified", f'the server answered unsigned, which proves nothing, "{text}"')
        if not holds:
            raise ClientError("reply_unverified", "the signature of the reply is wrong: not this server, or another "
                              "response_key")
        if reply["server_id"] != self.server_id:
            raise ClientError("reply_unverified", "the reply comes from another server")
        if reply["request_id"] != request_id:
            raise ClientError("reply_unverified", "the reply answers another request")
        is_stale = clock_unknown and not reply["ok"] and _error_of(reply).code == "stale"
        if abs(reply["ts_ms"] - self._now_ms()) > MAX_REPLY_SKEW_MS and not is_stale:
            raise ClientError("reply_unverified", "the reply is not fresh")
        return reply

    def _now_ms(self) -> int:
        return int(time.time() * 1000) + self._offset_ms


def _result_of(reply: dict[str, Any]) -> dict[str, Any]:
    if reply["error"] is not None:
        raise _error_of(reply)
    return reply["result"] or {}


def _retry_delay(setback: WaybillError, nth: int, persistent: bool) -> float | None:
    """Seconds until the same call is sent again; None: it should not be."""
    if nth >= (math.inf if persistent and setback.code in PASSING else ATTEMPTS.get(setback.code, 0)):
        return None
    asked_ms = (setback.result or {}).get("retry_after_ms")
    if type(asked_ms) in (int, float) and asked_ms >= 0:
        return asked_ms / 1000 * (1 + random.random() / 4)
    return min(0.2 * 2 ** min(nth - 1, 10), 5.0) * (0.75 + random.random() / 2)


def _post(url: str, data: bytes, seconds: float) -> bytes:
    """One message each way over HTTP (§9), on a connection of its own. Raises ClientError."""
    address = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=seconds)
    over = threading.Event()
    sockets: list[socket.socket] = []

    def cut() -> None:
        # The time-out of a socket begins anew with every byte; this one does not.
        over.set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.connect()
        # Kept here: the connection forgets its socket once the headers of a last reply are there.
        sockets.append(connection.sock)
        if over.is_set():
            raise TimeoutError
        connection.request("POST", path, data, {"content-type": "application/json", "connection": "close"})
        response = connection.getresponse()
        is_json = response.headers.get_content_type() == "application/json"
        if not is_json and not 200 <= response.status < 300:
            raise ClientError("connection", f"{url} answered with HTTP {response.status}, not with a message: is the "
                              "address right?")
        body = response.read(MAX_BYTES + 1)
        if response.length and len(body) <= MAX_BYTES:
            raise ConnectionResetError("the connection broke")
        return body
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        if over.is_set() or isinstance(error, TimeoutError) or "timed out" in str(error):
            raise ClientError("timeout", f"no answer from {url} within {seconds:.3g} s") from None
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ClientError("connection", f"cannot reach {url}: {_printable(str(reason))[:256]}") from None
    finally:
        timer.cancel()
        connection.close()


# --- Credentials (§3) ---

def _credential_problem(credential: Any) -> str | None:
    members = {"client_id", "server_id", "url", "request_key", "response_key"}
    if isinstance(credential, Mapping) and credential.get("algorithm", "hmac-sha256") != "hmac-sha256":
        return "algorithm must be hmac-sha256: Python's standard library cannot sign with another, such as ed25519"
    if not isinstance(credential, Mapping) or set(credential) - {"algorithm"} != members:
        # Names are not printed: in a file that was put together wrongly one may be a secret.
        return "must be an object of client_id, server_id, url, request_key and response_key"
    if not _text(ID)(credential["client_id"]) or not _text(ID)(credential["server_id"]):
        return "client_id and server_id must be 1-128 of A-Z a-z 0-9 . _ : @ / -, first a letter or digit"
    if not _is_http(credential["url"]):
        return "url must be an http(s) URL in visible ASCII, without user name and password"
    for name in ("request_key", "response_key"):
        key = credential[name]
        if not isinstance(key, str) or key == "" or SURROGATE.search(key):
            return f"{name} must be a string that is not empty"
        match = GENERATED_KEY.fullmatch(key)
        if key.startswith("wb_") and (match is None or "%08x" % zlib.crc32(match[1].encode()) != match[2]):
            return f"{name} has a wrong length or checksum: it was mistyped or cut"
        if key.startswith(("wbs_", "wbp_", "wbt_")):
            return f"{name} must be a shared secret (wb_): it is a key of ed25519 or a bearer token"
    # One key for both directions would let the server forge requests of the client.
    return "request_key and response_key must differ" if key == credential["request_key"] else None


def _is_http(url: Any) -> bool:
    try:
        if not isinstance(url, str) or not re.fullmatch(r"https?://[!-~]+", url):
            return False
        address = urllib.parse.urlsplit(url)
        return bool(address.hostname) and "@" not in address.netloc and address.port != 0
    except ValueError:
        return False


def _read_credential(path: str) -> Any:
    try:
        # Opened before it is looked at, so that what is checked is what is read; a pipe must not block.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SetupError(f"credential file {path} is not a regular file")
            if os.name == "posix" and status.st_mode & 0o077:
                raise SetupError(f"credential file {path} is open to other users "
                                 f"(mode {status.st_mode & 0o777:03o}): run chmod 600 on it")
            data = file.read(MAX_CREDENTIAL_BYTES + 1)
    except OSError as error:
        raise SetupError(f"cannot read credential file {path}: {error.strerror}") from None
    if len(data) > MAX_CREDENTIAL_BYTES:
        raise SetupError(f"credential file {path} has over {MAX_CREDENTIAL_BYTES} bytes")
    try:
        return parse(data)
    except JsonError as error:
        raise SetupError(f"credential file {path}: {error}") from None


# --- Jobs (§6) ---

@dataclass(frozen=True)
class JobUpdate:
    """A job at one moment."""

    state: str
    """queued, running, succeeded, failed, cancelled or expired"""
    progress: dict[str, Any] | None = None
    questions: dict[str, Any] | None = None
    """what the job waits to be answered, by the keys to answer by"""
    result: dict[str, Any] | None = None
    """the tool's output, once succeeded"""
    error: ProtocolError | None = None
    """why it failed, was cancelled or expired"""
    poll_after_ms: float = 500

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


class Job:
    """A job on the server. It goes on whether or not somebody looks."""

    def __init__(self, client: Client, job_id: str, *, known: bool = False) -> None:
        self.id = job_id
        self._client = client
        self._known = known

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def poll(self, wait_ms: int = 0, *, timeout: float | None = None) -> JobUpdate:
        """How it stands; with wait_ms (up to 30 000) the server answers when that changes.

        Raises ProtocolError `not_found`, ClientError.
        """
        args = {"job_id": self.id, **({"wait_ms": wait_ms} if wait_ms > 0 else {})}
        try:
            # A job that the server has shown is worth all the time that the caller has.
            update = _update_of(self._client._exchange("poll_job", args, None, timeout, persistent=self._known))
        except ClientError as error:
            hint = f'{error.message}; the job may still run: client.job("{self.id}") finds it'
            raise ClientError(error.code, hint) from error
        self._known = True
        return update

    def wait(self, timeout: float | None = None, on_update: Callable[[JobUpdate], object] | None = None
             ) -> dict[str, Any]:
        """Its result once it has ended; `on_update` gets each change. Without `timeout` (seconds) the
        job's own deadline ends the wait. Raises ProtocolError of a job that did not succeed, ClientError.
        """
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        before: JobUpdate | None = None
        while True:
            asked_at = time.monotonic()
            left = min(ends_at - asked_at, self._client.timeout)
            if left <= 0:
                raise ClientError("timeout", f'job "{self.id}" has not ended within {timeout:g} s; it goes on')
            # A held reply must come well within the time for its request.
            hold_ms = int(min(WATCH_MS if on_update else HOLD_MS, left * 500))
            update = self.poll(0 if on_update and before is None else hold_ms, timeout=left)
            if on_update and update != before:
                on_update(update)
            if update.error is not None:
                raise update.error
            if update.ended:
                return update.result or {}
            if update == before:
                # A server that does not hold replies is asked again when it said.
                pause = asked_at + update.poll_after_ms / 1000 - time.monotonic()
                time.sleep(max(0.0, min(pause, ends_at - time.monotonic())))
            before = update

    def cancel(self, *, timeout: float | None = None) -> str:
        """Ends the job; its state afterwards: cancelled, unless it had ended before."""
        return self._state("cancel_job", {"job_id": self.id}, timeout)

    def answer(self, answers: dict[str, Any], *, timeout: float | None = None) -> str:
        """Answers what the job asks: {key: {"action": "accept", "content": {…}}}; its state afterwards."""
        return self._state("answer_job", {"job_id": self.id, "answers": answers}, timeout)

    def _state(self, tool: str, args: dict[str, Any], timeout: float | None) -> str:
        state = _result_of(self._client._exchange(tool, args, None, timeout)).get("status")
        if not isinstance(state, str):
            raise ProtocolError("internal", f"{tool} was answered without a state")
        return state


def _update_of(reply: dict[str, Any]) -> JobUpdate:
    if reply["error"] is not None:
        error = _error_of(reply)
        state = {"cancelled": "cancelled", "deadline_exceeded": "expired"}.get(error.code, "failed")
        return JobUpdate(state, error=error)
    body = reply["result"] or {}
    if reply["status"] == "done":
        return JobUpdate("succeeded", result=body)
    if reply["status"] not in ("accepted", "running"):
        raise ProtocolError("internal", f"poll_job was answered with status {reply['status']}")
    after = body.get("poll_after_ms")
    return JobUpdate("queued" if reply["status"] == "accepted" else "running", body.get("progress"),
                     body.get("questions"), poll_after_ms=after if type(after) in (int, float) and after > 0 else 500)


# --- The command line; exit codes are those of `waybill call` ---

def _main() -> int:
    parser = argparse.ArgumentParser(prog="waybill.py", description="Calls tools of a Waybill server.")
    verb = parser.add_subparsers(dest="verb", required=True).add_parser(
        "call", help="call a tool and print its result; for a job, wait for it")
    verb.add_argument("tool")
    verb.add_argument("json", nargs="?", default="{}", help='arguments as a JSON object, or "-" for stdin')
    verb.add_argument("--credential", metavar="FILE", default=os.environ.get("WAYBILL_CREDENTIAL"))
    verb.add_argument("--url", help="where, instead of the url of the credential")
    verb.add_argument("--request-id", help="names the call: under the same id it runs once")
    verb.add_argument("--timeout", type=float, default=60.0, help="seconds for one request with its retries")
    verb.add_argument("--no-wait", action="store_true", help="for a job: print its id instead of waiting")
    options = parser.parse_args()
    if options.credential is None:
        verb.error("--credential FILE is required")
    request_id = options.request_id or str(uuid.uuid4())
    again = f"to ask again without running it twice, add --request-id {request_id}"
    try:
        client = Client.from_file(options.credential, url=options.url, timeout=options.timeout)
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if options.json == "-" else os.fsencode(options.json)
        begin = client.start if options.no_wait else client.call
        try:
            done = begin(options.tool, parse(data), request_id=request_id)
        except NotAJob as direct:
            done = direct.result
        text = json.dumps({"job_id": done.id} if isinstance(done, Job) else done, ensure_ascii=False, indent=2)
        # JSON leaves these as they are, and terminals act on them.
        safe = re.sub("[\x7f-\x9f]", lambda found: "\\u%04x" % ord(found[0]), text)
        sys.stdout.buffer.write(safe.encode("utf-8") + b"\n")
        return 0
    except ProtocolError as error:
        return _fail(1, str(error))
    except ClientError as error:
        return _fail(3, f"{error.message}; {again}")
    except ValueError as error:
        return _fail(2, str(error))
    except KeyboardInterrupt:
        return _fail(130, f"interrupted; {again}")


def _fail(code: int, message: str) -> int:
    print(f"waybill: {_printable(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(_main())
