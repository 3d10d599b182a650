"""Two of schemathesis' own checks, with what no schema can state taken into account."""

import json

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# What is said of requests that are valid by their schema: two parts of a request must agree, a time must be one to
# come, a word must say something, and a schema counts characters where the limits are in bytes.
UNSTATED = (
    "only beside the header If-None-Match",
    "the same in query and body",
    "an RFC 3339 time from 1970 to 9999",
    "a time in the future",
    "at least one of",
    " bytes",
)


def items_of(response, case):
    """The outcomes of a batch, which is 200 as a whole; of anything else none."""
    is_batch = "/batch/" in case.operation.path and response.status_code == 200
    return json.loads(response.content)["items"] if is_batch else []


def is_unstated(problem):
    return any(words in problem.get("allowed", "") for words in UNSTATED)


@schemathesis.check
def what_is_right_is_accepted(ctx, response, case):
    if case.meta and case.meta.generation.mode.is_positive:
        for item in items_of(response, case):
            assert item["status"] != 400 or is_unstated(item), f"a valid item was refused: {item}"
    try:
        positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        # A condition that does not hold is refused for what the server knows.
        if response.status_code != 412 and not is_unstated(json.loads(response.content)):
            raise


@schemathesis.check
def what_is_wrong_is_refused(ctx, response, case):
    try:
        negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        # What is wrong with an item is said before anything that it would meet.
        if not any(item["status"] == 400 for item in items_of(response, case)):
            raise
