"""The invariants, and every problem that breaks one: in plain words, with the command or SQL that mends it.

In a mend, ID is an id that the problem was found at; GENERATION_ID and PASS_ID are its generation and its customer.
A final status does not change by itself: a mend that changes one says that it means to, by
`set session_replication_role = replica`, which holds for its session and needs the database's owner. History (ledger
rows, finished steps, events, lines) is changed by `safelight.amend_history` alone, which puts the reason on record.
"""

from dataclasses import dataclass

INVARIANTS = {
    1: "The balance is the sum of the ledger, and never negative.",
    2: "Every final generation: charge − refunds = the price of what was delivered.",
    3: "A failed step, an ops row and a failed generation exist together or not at all.",
    4: "The numbers of steps and of job-log lines have no gaps.",
    5: "No finished step is executed twice.",
    6: "A provider accepts at most one request for an attempt key; what may have been paid twice is on record.",
    7: "Every finished generation has a readable file with the recorded hash.",
    8: "Every unfinished generation has a queued job or a live worker, and is not long past its deadline.",
    9: "Every ops row has all documented fields.",
    10: "Every model call names its context version, every generate step its settings version, each with its hash.",
    11: "A refunded, failed or deleted generation has no result that its customer can read.",
    12: "Ledger rows, finished steps, log lines, events and configuration versions are unchanged.",
    13: "No view shows rows of other customers: every view has `security_invoker`.",
}

# Always present, null if unknown (docs/contract/errors.md).
OPS_FIELDS = (
    "request_id", "pass_id", "route", "http_status", "error_code", "message", "generation_id", "step_type", "provider",
    "model", "emoji", "level", "category", "http", "provider_http_status", "ctx", "settings", "retry", "stack",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """One way to break an invariant; `says` what is wrong with one row."""

    name: str
    invariant: int
    says: str
    mend: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A problem and the number of rows that have it; `ids` are the first of them."""

    problem: Problem
    count: int
    ids: tuple[str, ...]


PROBLEMS = (
    Problem(
        "balance_is_not_the_sum",
        1,
        "the customer's balance is not the sum of their ledger",
        "run safelight recipes ledger_of_a_customer; where the ledger is right: update mega_customers set mg_credits ="
        " (select coalesce(sum(mg_delta), 0) from mega_generations where mg_record_type = 'credit_transaction'"
        " and mg_pass_id = 'ID') where mg_pass_id = 'ID'",
    ),
    Problem("balance_below_zero", 1, "the customer's balance is below zero", "safelight credits grant ID N"),
    Problem(
        "charge_is_not_the_price",
        2,
        "the generation was delivered, and its customer was not charged its price",
        "safelight generations show ID; where too much was taken: safelight credits grant PASS_ID N",
    ),
    Problem(
        "refund_missing",
        2,
        "the generation failed or was stopped, and its credits were not given back",
        "safelight doctor --fix",
    ),
    Problem(
        "refund_too_high",
        2,
        "more was given back than the generation had cost, or it was delivered all the same",
        "run safelight recipes ledger_of_a_customer; credits that a customer was given are not taken back by a program",
    ),
    Problem(
        "failed_step_of_a_success",
        3,
        "the step failed, and its generation did not",
        "set session_replication_role = replica; update mega_generations set mg_mma_status = 'error',"
        " mg_status = 'failed' where mg_id = 'generation:GENERATION_ID'; then safelight doctor --fix",
    ),
    Problem(
        "error_of_a_success",
        3,
        "the ops row tells of a failed step, and its generation is done",
        "safelight generations show GENERATION_ID; where it was set to done by hand:"
        " set session_replication_role = replica; update mega_generations set mg_mma_status = 'error',"
        " mg_status = 'failed' where mg_id = 'generation:GENERATION_ID'; then safelight doctor --fix",
    ),
    Problem("failure_without_step", 3, "the generation failed, and no step says at what", "safelight doctor --fix"),
    Problem(
        "failure_without_ops_row", 3, "the generation failed, and no ops row tells operators", "safelight doctor --fix"
    ),
    Problem(
        "step_number_missing",
        4,
        "the generation's steps are not numbered 0, 1, 2, …: rows are gone",
        "restore the rows of mega_generations with this mg_generation_id from a backup",
    ),
    Problem(
        "line_number_missing",
        4,
        "the generation's lines are not numbered 1, 2, 3, … up to its mg_log_seq",
        "restore the lines of image_generation_logs with this job_id from a backup; where only the number is wrong:"
        " update mega_generations set mg_log_seq = (select coalesce(max(seq), 0) from image_generation_logs"
        " where job_id = 'ID') where mg_id = 'generation:ID'",
    ),
    Problem(
        "step_row_twice",
        5,
        "a step of the generation has two rows",
        "begin; select safelight.amend_history('twin of a step', 'YOUR NAME'); delete from mega_generations where"
        " mg_record_type = 'mma_step' and mg_generation_id = 'ID' and mg_id <> 'mma_step:ID:' || mg_step_no; commit",
    ),
    Problem(
        "finished_step_tried_again",
        5,
        "an attempt of the step succeeded, and another one followed",
        "safelight generations show GENERATION_ID; compare the step's attempts with the provider's account",
    ),
    Problem(
        "double_payment_in_silence",
        6,
        "two starts of the step may both have been paid, and the step does not say so",
        "compare them with the provider's account, then: begin; select safelight.amend_history('two starts',"
        " 'YOUR NAME'); update mega_generations set mg_payload = mg_payload || '{\"possible_double_spend\": true}'"
        " where mg_id = 'ID'; commit",
    ),
    Problem(
        "two_requests_accepted",
        6,
        "the provider accepted two requests with this attempt key",
        "compare both with the provider's account, and cancel one there",
    ),
    Problem(
        "attempt_key_twice",
        6,
        "two starts share this attempt key",
        "compare both with the provider's account",
    ),
    Problem(
        "result_without_file",
        7,
        "the generation is done, and has no file or no step that made it",
        "restore its rows of mega_generations from a backup",
    ),
    Problem(
        "result_without_hash",
        7,
        "the step made the file of a generation that is done, and has no hash of it",
        "sha256sum the file, then: begin; select safelight.amend_history('no hash', 'YOUR NAME'); update"
        " mega_generations set mg_payload = jsonb_set(mg_payload, '{output,sha256}', to_jsonb('HASH'::text))"
        " where mg_id = 'ID'; commit",
    ),
    Problem(
        "file_unreadable",
        7,
        "the generation is done, and its file cannot be read, or not to its end",
        "restore the file of its mg_output_key from a backup",
    ),
    Problem(
        "file_changed",
        7,
        "the generation is done, and its file has another hash than when it was made",
        "restore the file of its mg_output_key from a backup",
    ),
    Problem(
        "generation_without_job",
        8,
        "the generation is unfinished and has no job",
        "safelight doctor --fix, or start safelight worker",
    ),
    Problem(
        "worker_is_dead",
        8,
        "the generation's worker has stopped answering",
        "safelight doctor --fix, or start safelight worker",
    ),
    Problem(
        "deadline_passed",
        8,
        "the generation is unfinished, long after its deadline",
        "safelight doctor --fix, or start safelight worker",
    ),
    Problem(
        "ops_row_lacks_fields",
        9,
        "the ops row lacks fields that every ops row has",
        "add those that are missing: update mega_admin set mg_detail = '{\"FIELD\": null}' || coalesce(mg_detail, '{}')"
        " where mg_id = 'ID'",
    ),
    Problem(
        "context_not_named",
        10,
        "the step asked a model and does not name the context's key, version, id and hash",
        "restore the row from a backup",
    ),
    Problem(
        "settings_not_named",
        10,
        "the step made something and does not name the settings' key, version, id and hash, or what they resolved to",
        "restore the row from a backup",
    ),
    Problem(
        "configuration_differs",
        10,
        "the step ran under a configuration version that is not there, or has another content now than its hash says",
        "restore the row of mega_admin with its ctx_id or settings_id from a backup",
    ),
    Problem(
        "history_changed",
        12,
        "the row is not what it was when it was written: somebody changed it with its triggers out of force",
        "restore the row from a backup; to keep it as it is: SQL of docs/operating.md, Amending history",
    ),
    Problem(
        "history_unsealed",
        12,
        "the row was written with its triggers out of force",
        "find out who wrote it; to keep it as it is: SQL of docs/operating.md, Amending history",
    ),
    Problem(
        "refunded_result_delivered",
        11,
        "the generation is done, and all of its price was given back",
        "where the refund is right, take the result away: set session_replication_role = replica;"
        " update mega_generations set mg_mma_status = 'error', mg_status = 'failed' where mg_id = 'generation:ID';"
        " then safelight doctor --fix; where it is not: run safelight recipes ledger_of_a_customer",
    ),
    Problem(
        "refunded_result_named",
        11,
        "the generation ended without a result, and its row leads its customer to one",
        "safelight doctor --fix",
    ),
    Problem(
        "refunded_result_readable",
        11,
        "the generation ended without a result, and a file that it made can be read",
        "safelight doctor --fix",
    ),
    Problem(
        "deleted_result_readable",
        11,
        "its customer deleted the generation, and a file that it made can be read",
        "safelight doctor --fix",
    ),
    Problem(
        "view_shows_all_rows",
        13,
        "customers may read the view, and it reads our tables as its owner, whom no policy holds",
        "safelight doctor --fix, or: alter view ID set (security_invoker = true)",
    ),
)
PROBLEM = {problem.name: problem for problem in PROBLEMS}
