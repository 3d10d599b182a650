"""Two of schemathesis' own checks, with what no schema can state taken into account."""

import json

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# What is said of requests that are valid by their schema: two parts of a request must agree, and a schema counts
# characters where the limits are in bytes.
UNSTATED = ("only beside the header If-None-Match", "the same in query and body", " bytes")


@schemathesis.check
def what_is_right_is_accepted(ctx, response, case):
    try:
        positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        problem = json.loads(response.content)
        # A condition that does not hold: well said, and refused for what the server knows.
        if response.status_code == 412:
            return
        if not any(words in problem.get("allowed", "") for words in UNSTATED):
            raise


@schemathesis.check
def what_is_wrong_is_refused(ctx, response, case):
    try:
        negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        # A batch is 200 as a whole, and each of its items has a status of its own.
        items = json.loads(response.content).get("items", []) if "/batch/" in case.operation.path else []
        if not any(item["status"] >= 400 for item in items):
            raise
