"""Lets a test drive clients/python/waybill.py: one JSON object a line in, one out, in turn."""

import ast
import base64
import json
import sys
import time

import waybill

# Pauses between attempts are a fifth here: no test is about their length.
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 5)

clients = {}
jobs = {}


def new(name, **options):
    path = options.pop("file", None)
    clients[name] = waybill.Client.from_file(path, **options) if path else waybill.Client(**options)
    return repr(clients[name])


def canonical(text):
    return waybill.canonical(waybill.parse(text.encode("utf-8", "surrogatepass")))


def parse(base64_bytes):
    return waybill.canonical(waybill.parse(base64.b64decode(base64_bytes)))


def read_reply(base64_bytes):
    reply = waybill.read_reply(base64.b64decode(base64_bytes))
    return waybill.canonical({name: value for name, value in reply.items() if name != "signature"})


def sign(text, secret):
    return waybill.sign(waybill.parse(text.encode()), secret).decode()


def verify(text, secret):
    return waybill.verify(waybill.parse(text.encode()), secret)


def evaluate(text):
    """Python values that JSON cannot name."""
    return waybill.canonical(eval(text))  # noqa: S307 -- the test's own text


def call(client, tool, args_text="{}", **options):
    """The arguments are text, so that 1.0 is a float here."""
    return clients[client].call(tool, json.loads(args_text), **options)


def start(client, tool, args_text="{}", **options):
    job = clients[client].start(tool, json.loads(args_text), **options)
    jobs[job.id] = job
    return job.id


def poll(client, job_id, **options):
    return shown(clients[client].job(job_id).poll(**options))


def wait(job_id, watch, **options):
    updates = []
    see = (lambda update: updates.append(shown(update))) if watch else None
    return {"result": jobs[job_id].wait(on_update=see, **options), "updates": updates}


def cancel(client, job_id):
    return clients[client].job(job_id).cancel()


def answer(client, job_id, answers):
    return clients[client].job(job_id).answer(answers)


def shown(update):
    error = update.error and failure(update.error)
    return {"state": update.state, "progress": update.progress, "questions": update.questions,
            "result": update.result, "error": error}


def set_clock_back(client, ms):
    """As if the clock of this machine were late."""
    clients[client]._offset_ms -= ms


def inside(client):
    """All that a log of the object, or of the error that it raises, could show."""
    held = clients[client]
    return repr(held) + str(held) + repr(vars(held))


def parses_as(version):
    with open(waybill.__file__, encoding="utf-8") as file:
        return ast.parse(file.read(), feature_version=tuple(version)) is not None


def codes():
    return waybill.CODES


def failure(error):
    members = {name: getattr(error, name, None) for name in ("code", "message", "result", "retryable")}
    return {"type": type(error).__name__, "text": str(error), **members}


for line in sys.stdin:
    request = json.loads(line)
    try:
        answered = {"value": globals()[request.pop("op")](**request)}
    except Exception as error:  # noqa: BLE001 -- the test judges it
        answered = {"error": failure(error)}
    print(json.dumps(answered), flush=True)
