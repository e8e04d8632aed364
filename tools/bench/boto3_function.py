"""What the Rust functions are compared with: one call by boto3, in as little Python as there can be.

AWS's own runtime for Python does more before the first event, so this one starts sooner than a
deployed function.
"""

import http.client
import json
import os

import boto3

# Built before the first event, as AWS recommends.
call = getattr(boto3.client(os.environ["SERVICE"]), os.environ["OPERATION"])
arguments = json.loads(os.environ["ARGUMENTS"])
runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    event = runtime.getresponse()
    event.read()
    call(**arguments)
    request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", "{}")
    runtime.getresponse().read()
