"""Every way in which a request or a run can fail: the one table that all parts read.

An exception of the service names its row (`lookalike_serving.failures.kind_of`). From the row come
the HTTP status and `Retry-After` of the gateway, what a batch does with the item, the exit code of
an ingestion run, and the reason of the collection's conditions: the run's result carries `reason`
to the operator, and nothing is concluded from the text of a message. The exit codes of an
ingestion run and of the `lookalike` command are here, too.

`docs/reference/failures.md` is generated from this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Self


class _Exit(IntEnum):
    """An exit code of a process, and in which case the process ends with it."""

    means: str

    def __new__(cls, code: int, means: str) -> Self:
        self = int.__new__(cls, code)
        self._value_ = code
        self.means = means
        return self


class RunExit(_Exit):
    """How an ingestion run ends, for whoever started its process."""

    COMPLETE = 0, "The run is complete."
    TRY_AGAIN = 1, "The run failed, and another attempt may succeed."
    GIVE_UP = 2, "The run failed, and would fail again: a Job with this exit code is not retried."
    WITH_ERRORS = 3, "The run is complete, but some images or sources could not be read."
    BUSY = 4, "Another run of the collection is in progress."
    TERMINATED = 143, "SIGTERM ended the run; the next one continues where it stopped."


class CommandExit(_Exit):
    """How the `lookalike` command ends, for a script."""

    OK = 0, "The command did what was asked."
    FAILED = (
        1,
        "What was asked could not be done: a file or a picture is missing or invalid, a server "
        "does not start, an ingestion failed.",
    )
    USAGE = 2, "The command line is wrong."
    UNREACHABLE = 3, "No server answers, or it is not ready."
    REFUSED = (
        4,
        "The server refused the request: something was not found, the request is invalid, or the "
        "API key is.",
    )
    INCOMPLETE = (
        5,
        "The command did it in part: some images or sources could not be read (`ingest`, `up "
        "--wait`), or could not be if they were ingested now (`ingest --dry-run`); some models "
        "could not be loaded (`compare-models`).",
    )
    UNCONFIRMED = (
        6,
        "Data would be lost, and the question was answered with no or could not be asked. Nothing "
        "was changed; `--yes` confirms in advance.",
    )
    INTERRUPTED = 130, "The command was interrupted."


class Retry(Enum):
    """Whether to try the same request or run, unchanged, again."""

    LATER = "yes, it may pass by itself"
    ONCE_MENDED = "once the cause is removed"
    NEVER = "no"


class Part(Enum):
    """What has failed."""

    REQUEST = "the request"
    IMAGE = "the image"
    MODEL = "the model"
    INDEX = "the index"
    SOURCE = "the sources"
    STORAGE = "the disk"
    SERVICE = "the service"


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One row of the table."""

    code: str
    """Stable name in problem documents, failed batch items and metrics: `index-unavailable`."""
    part: Part
    status: int
    """The HTTP status."""
    retry: Retry
    means: str
    remedy: str
    """What to do, in one sentence. A message says the same with names and values."""
    reason: str | None = None
    """The reason of a condition: `IndexUnreachable`. None: it ends requests, but never a run."""
    retry_after: int | None = None
    """Seconds that the gateway asks a caller to wait, if it sends `Retry-After`."""
    concerns_all: bool = False
    """Whether every other item of a batch would fail for the same reason."""
    exits: RunExit | None = None
    """The exit code of a run, if it does not follow from `retry`."""

    def __str__(self) -> str:
        return self.code

    @property
    def retryable(self) -> bool:
        """Whether the same request or run may succeed at another attempt."""
        return self.retry is not Retry.NEVER

    @property
    def exit_code(self) -> RunExit:
        """The exit code of a run that ends with it."""
        if self.exits is not None:
            return self.exits
        return RunExit.TRY_AGAIN if self.retryable else RunExit.GIVE_UP

    @property
    def condition_reason(self) -> str:
        """`reason` of a row that has one. Raises ValueError for one that never ends a run."""
        if self.reason is None:
            raise ValueError(f"{self.code} is no reason of a condition")
        return self.reason

    @property
    def command_exit(self) -> CommandExit:
        """The exit code of `lookalike` if a server answers with it."""
        return command_exit(self.status, self.code)

    @property
    def batch(self) -> str:
        """What a batch does, in words."""
        if not self.concerns_all:
            return "the item fails"
        return "waits, then halts" if self.retry is Retry.LATER else "halts"


def command_exit(status: int, code: str | None = None) -> CommandExit:
    """The exit code of `lookalike` if a server answers with an HTTP error.

    502, 503 and 504 say that a server, or a part that it needs, does not answer now. A picture that
    cannot be used is like a file that is not there, whoever notices it first.
    """
    row = _BY_CODE.get(code) if code is not None else None
    if row is not None and row.part is Part.IMAGE and status < 500:
        return CommandExit.FAILED
    return CommandExit.UNREACHABLE if status in (502, 503, 504) else CommandExit.REFUSED


# -- the request -----------------------------------------------------------------------------------


def _refused(
    code: str, status: int, means: str, remedy: str, *, concerns_all: bool = False
) -> FailureKind:
    """A request that cannot be answered as it stands."""
    return FailureKind(
        code, Part.REQUEST, status, Retry.NEVER, means, remedy, concerns_all=concerns_all
    )


BAD_REQUEST = _refused(
    "bad-request", 400, "The request is not valid HTTP.", "Correct what the detail names."
)
BAD_MULTIPART = _refused(
    "bad-multipart",
    400,
    "The multipart body cannot be read.",
    "Send the boundary that the Content-Type names, and close the last part.",
)
CLIENT_DISCONNECTED = _refused(
    "client-disconnected",
    400,
    "The connection closed before the body ended.",
    "Send the whole body.",
)
DEADLINE_EXCEEDED = FailureKind(
    "deadline-exceeded",
    Part.REQUEST,
    504,
    Retry.LATER,
    "The time that `X-Request-Timeout` allows was over before the answer was there.",
    "Allow more time, or try again when the service is less busy.",
)
UNAUTHORIZED = _refused(
    "unauthorized",
    401,
    "The API key is missing or wrong.",
    "Send a valid key as `Authorization: Bearer <key>`.",
)
FOREIGN_PAGE = _refused(
    "foreign-page",
    403,
    "A page of another origin asks a service without API keys for data.",
    "Configure API keys, or call the service from its own origin.",
)
NOT_FOUND = _refused(
    "not-found",
    404,
    "There is no such route, collection, retriever, document or batch.",
    "Correct the name; the detail lists what there is.",
    concerns_all=True,
)
METHOD_NOT_ALLOWED = _refused(
    "method-not-allowed",
    405,
    "The route does not take this method.",
    "Use one of the methods in the Allow header.",
)
BODY_TOO_SLOW = _refused(
    "body-too-slow",
    408,
    "The request body did not arrive in time.",
    "Send it faster, or send a smaller body.",
)
BATCH_FINISHED = _refused(
    "batch-finished",
    409,
    "The batch has finished, and there is nothing left to cancel.",
    "Nothing needs to be done.",
)
BATCH_ACTIVE = _refused(
    "batch-active",
    409,
    "The batch is still in progress.",
    "Wait until it has finished or cancel it, and then retry it.",
)
NOTHING_TO_RETRY = _refused(
    "nothing-to-retry",
    409,
    "The batch has no failed items.",
    "Nothing needs to be done: all items are stored.",
)
SCORES_CHANGED = _refused(
    "scores-changed",
    409,
    "A calibration was measured with scores of another scale than the retriever has now: a model, "
    "a collection, a weight, the fusion or the re-ranking stages have changed.",
    "Calibrate again.",
)
NOT_CALIBRATED = _refused(
    "not-calibrated",
    409,
    "min_score is auto, and the retriever has no calibration, or one that no longer holds.",
    "Measure one with `lookalike calibrate --save`, or write a number.",
)
DUPLICATE = _refused(
    "duplicate",
    409,
    "on_duplicate is reject, and the collection has this picture or a copy of it already.",
    "Use the document that the detail names, or send on_duplicate: allow or link.",
)
SCAN_ACTIVE = _refused(
    "scan-active",
    409,
    "A duplicate scan of the collection is still in progress.",
    "Wait until it has finished, or cancel it.",
)
APPLY_ACTIVE = _refused(
    "apply-active",
    409,
    "A report of duplicates of the collection is being applied: the same one or another.",
    "Wait until it has been applied, and apply yours then.",
)
SCAN_NOT_COMPLETE = _refused(
    "scan-not-complete",
    409,
    "The duplicate scan has no report: it is still in progress, was cancelled, or has failed.",
    "Wait until it has finished, or scan again.",
)
REPORT_NOT_REVIEWED = _refused(
    "report-not-reviewed",
    409,
    "The report of a duplicate scan is to be applied that nobody has tried with a dry run.",
    "Make a dry run, look at what would be deleted, and apply the report with its id.",
)
DUPLICATES_NOT_INSTALLED = _refused(
    "duplicates-not-installed",
    501,
    "The service cannot compare pictures, since OpenCV is not installed.",
    "Install lookalike[duplicates], or use the serving image.",
)
ALREADY_THERE = _refused(
    "already-there",
    412,
    "If-None-Match allows new documents only, and this document exists.",
    "Leave the header out to replace the document.",
)
BODY_TOO_LARGE = _refused(
    "body-too-large",
    413,
    "The request body is larger than the limit.",
    "Send a smaller image, its URL, or several batches.",
)
UNSUPPORTED_MEDIA_TYPE = _refused(
    "unsupported-media-type",
    415,
    "The route does not read bodies of this Content-Type.",
    "Send one of the types that the detail names.",
)
WRONG_HOST = _refused(
    "wrong-host",
    421,
    "The Host header names a host that is not served without API keys.",
    "Use localhost, or configure API keys.",
)
INVALID_REQUEST = _refused(
    "invalid-request",
    422,
    "Parts of the request are wrong; `errors` lists each of them.",
    "Correct what `errors` names.",
)
IDEMPOTENCY_KEY_REUSED = _refused(
    "idempotency-key-reused",
    422,
    "The Idempotency-Key has been used for another request.",
    "Send a new key for a new batch.",
)
STOPPED_AT_FIRST_FAILURE = _refused(
    "stopped-at-first-failure",
    409,
    "An item of a batch with `on_error: stop` failed.",
    "Correct that item, then retry the batch.",
)
SUBSCRIPTION_UNCONFIRMED = FailureKind(
    "subscription-unconfirmed",
    Part.REQUEST,
    502,
    Retry.LATER,
    "Amazon SNS did not answer when a subscription to change events was confirmed.",
    "Let the service reach `sns.<region>.amazonaws.com`, or confirm the subscription yourself.",
)
TOO_MANY_REQUESTS = FailureKind(
    "too-many-requests",
    Part.SERVICE,
    429,
    Retry.LATER,
    "The rate limit is exceeded, or too many requests are in progress.",
    "Wait as long as Retry-After says.",
    reason="Overloaded",
    retry_after=1,
    concerns_all=True,
)

# -- the image -------------------------------------------------------------------------------------


def _image(
    code: str, means: str, remedy: str, *, status: int = 422, retry: Retry = Retry.NEVER
) -> FailureKind:
    """An image that cannot be had or read: the others of a batch or a run go on."""
    return FailureKind(f"image-{code}", Part.IMAGE, status, retry, means, remedy)


IMAGES = (
    _image("empty", "The image has no bytes.", "Send the file's content."),
    _image("not-an-image", "The bytes are not an image.", "Send an image file."),
    _image(
        "unsupported-format",
        "The format of the image is not supported.",
        "Convert it to one of the formats that the detail names.",
    ),
    _image("truncated", "The image file is incomplete.", "Send the whole file."),
    _image("corrupt", "The image is damaged.", "Send an intact file."),
    _image(
        "too-many-pixels", "The image has too many pixels.", "Send a smaller version.", status=413
    ),
    _image("too-large", "The image has too many bytes.", "Send a smaller version.", status=413),
    _image(
        "too-costly",
        "Decoding the image would take too much memory or time.",
        "Send a smaller version, or another format.",
        status=413,
    ),
    _image(
        "bad-reference",
        "The value is not an address, a data URL or the base64 encoding of an image.",
        "Send an https URL, a data URL, base64 or a file.",
    ),
    _image(
        "forbidden-scheme",
        "Images are not fetched from addresses with this scheme.",
        "Send an https URL, or the bytes.",
    ),
    _image(
        "forbidden-address",
        "Images are not fetched from this address.",
        "Send the bytes, or allow the address in the settings of fetching.",
    ),
    _image(
        "forbidden-path",
        "The file is outside the folders that may be read.",
        "Move it into one of them.",
    ),
    _image("not-found", "There is no image at the address.", "Correct the address."),
    _image(
        "unreachable",
        "The host of the image does not answer.",
        "Try again later, or send the bytes.",
        retry=Retry.LATER,
    ),
    _image(
        "timeout",
        "The host of the image is too slow.",
        "Try again later, or send the bytes.",
        retry=Retry.LATER,
    ),
    _image(
        "http-status",
        "The host of the image answered with an error.",
        "Open the address in a browser, or send the bytes.",
    ),
    _image(
        "archived",
        "The image is in an archive tier of its bucket, from which nothing can be read.",
        "Restore the object, or move it to another storage class.",
    ),
    _image(
        "access-denied",
        "The service of the image's bucket refuses access.",
        "Check the credentials of the source, and what they may read.",
        retry=Retry.LATER,
    ),
    _image(
        "too-many-redirects",
        "The address of the image redirects too often.",
        "Send the address that it redirects to.",
    ),
)
IMAGE_LOST = _image(
    "lost",
    "The stored bytes of the image are no longer available.",
    "Submit the image again.",
    status=404,
)
IMAGE_UNAVAILABLE = _image(
    "unavailable",
    "The image of a document cannot be fetched from where it is stored.",
    "Open its address in a browser; try again later.",
    status=502,
    retry=Retry.LATER,
)


def _entry(code: str, means: str, remedy: str) -> FailureKind:
    """An entry of a source that cannot become a document: the run continues with the next one."""
    return FailureKind(code, Part.IMAGE, 422, Retry.ONCE_MENDED, means, remedy)


ENTRY_UNREADABLE = _entry(
    "entry-unreadable",
    "A row, a file or a folder of the source cannot be read.",
    "Correct the row, or give the process the right to read the file.",
)
ENTRY_WITHOUT_IMAGE = _entry(
    "entry-without-image",
    "The row names no image that can be read.",
    "Write the address or the path of an image into the row, or set `urlColumn`.",
)
ENTRY_BAD_ID = _entry(
    "entry-bad-id",
    "The entry has no document id, or one that cannot be used.",
    "Correct the id in the row or the name of the file.",
)
ENTRY_ID_TAKEN = _entry(
    "entry-id-taken",
    "Another image has the document id already.",
    "Make the ids unique, or set `idPrefix` of one of the sources.",
)
ENTRY_BAD_METADATA = _entry(
    "entry-bad-metadata",
    "The metadata of the image is missing or does not fit, and the source asks for it.",
    "Correct the row, or set `metadata.onBadValue` or `onMissingRow` to another value.",
)
WORKER_DIED = _entry(
    "worker-died",
    "The worker process ended each time that it had this image.",
    "Give the run more memory; if only a few images have this failure, look at these.",
)

# -- the model -------------------------------------------------------------------------------------

MODEL_NOT_LOADED = FailureKind(
    "model-not-loaded",
    Part.MODEL,
    500,
    Retry.NEVER,
    "The model cannot be loaded: its name, provider and weights do not match.",
    "Correct `spec.model`.",
    reason="ModelNotLoaded",
    concerns_all=True,
)
PACKAGE_MISSING = FailureKind(
    "package-missing",
    Part.MODEL,
    500,
    Retry.NEVER,
    "A Python package that the model's provider needs is not installed.",
    "Install it with the line that the message names, or use an image that has it.",
    reason="PackageMissing",
    concerns_all=True,
)
WEIGHTS_NOT_FOUND = FailureKind(
    "weights-not-found",
    Part.MODEL,
    500,
    Retry.NEVER,
    "The weights of the model are not where the spec says.",
    "Correct `spec.model.weights`.",
    reason="WeightsNotFound",
    concerns_all=True,
)
WEIGHTS_UNREACHABLE = FailureKind(
    "weights-unreachable",
    Part.MODEL,
    503,
    Retry.LATER,
    "The hub that has the weights of the model does not answer.",
    "Check the network and the proxy, or put the weights on a volume.",
    reason="WeightsUnreachable",
    retry_after=30,
    concerns_all=True,
)
MODEL_UNAVAILABLE = FailureKind(
    "model-unavailable",
    Part.MODEL,
    503,
    Retry.LATER,
    "The model was loaded, but failed while it was running.",
    "Look for the cause in the log: it is often a lack of memory.",
    reason="ModelFailed",
    retry_after=5,
    concerns_all=True,
)

# -- the index -------------------------------------------------------------------------------------

INDEX_UNAVAILABLE = FailureKind(
    "index-unavailable",
    Part.INDEX,
    503,
    Retry.LATER,
    "The index cannot be reached or does not answer in time.",
    "Check that the Qdrant server or the Retriever runs, and that its address is right.",
    reason="IndexUnreachable",
    retry_after=2,
    concerns_all=True,
)
INDEX_LOST = FailureKind(
    "index-lost",
    Part.INDEX,
    503,
    Retry.LATER,
    "The index existed when it was opened, and no longer does.",
    "Ingest again, which creates a new index.",
    reason="IndexGone",
    retry_after=2,
    concerns_all=True,
)
INDEX_CERTIFICATE_REFUSED = FailureKind(
    "index-certificate-refused",
    Part.INDEX,
    503,
    Retry.LATER,
    "The certificate of the Qdrant server is not trusted.",
    "Renew the certificate, or set its authority in `spec.index.qdrant.ca`.",
    reason="CertificateRefused",
    retry_after=2,
    concerns_all=True,
)
INDEX_KEY_REFUSED = FailureKind(
    "index-key-refused",
    Part.INDEX,
    503,
    Retry.ONCE_MENDED,
    "The Qdrant server refuses the API key.",
    "Put the right key into the Secret that `spec.index.qdrant.apiKeySecretRef` names.",
    reason="ApiKeyRefused",
    concerns_all=True,
)
INDEX_FAILED = FailureKind(
    "index-failed",
    Part.INDEX,
    503,
    Retry.ONCE_MENDED,
    "The index cannot be opened or used, although it is there.",
    "Do what the detail says: its files or its settings are damaged or incomplete.",
    reason="IndexFailed",
    concerns_all=True,
)
INDEX_MISMATCH = FailureKind(
    "index-mismatch",
    Part.INDEX,
    409,
    Retry.NEVER,
    "The index was made for another model, dimension or distance, or for another collection.",
    "Revert the change of the spec, or delete the index.",
    reason="IndexMismatch",
    concerns_all=True,
)
INDEX_REFUSED = FailureKind(
    "index-refused",
    Part.INDEX,
    422,
    Retry.NEVER,
    "The index does not support a filter or a value of the request.",
    "Correct the filter or the value that the detail names.",
    reason="IndexRefused",
)

# -- the disk --------------------------------------------------------------------------------------

STORAGE_FULL = FailureKind(
    "storage-full",
    Part.STORAGE,
    507,
    Retry.ONCE_MENDED,
    "The disk is full: nothing was written, and searches still work.",
    "Delete documents or unused indexes, or enlarge the disk.",
    reason="StorageFull",
    concerns_all=True,
)
STORAGE_FAILED = FailureKind(
    "storage-failed",
    Part.STORAGE,
    503,
    Retry.ONCE_MENDED,
    "The disk cannot be written: it is read-only or damaged.",
    "Repair the volume.",
    reason="StorageFailed",
    concerns_all=True,
)

# -- the service -----------------------------------------------------------------------------------

COLLECTION_UNAVAILABLE = FailureKind(
    "collection-unavailable",
    Part.SERVICE,
    503,
    Retry.LATER,
    "The collection is not open: its model or its index is not available yet.",
    "Do what the detail says; the service tries again by itself.",
    reason="CollectionUnavailable",
    retry_after=5,
    concerns_all=True,
)
BATCHES_UNAVAILABLE = FailureKind(
    "batches-unavailable",
    Part.SERVICE,
    503,
    Retry.LATER,
    "The store of batch records is not open.",
    "Do what the detail says; the service tries again by itself.",
    reason="BatchesUnavailable",
    retry_after=5,
    concerns_all=True,
)
NOT_READY = FailureKind(
    "not-ready",
    Part.SERVICE,
    503,
    Retry.LATER,
    "Parts of the service do not answer a canary query; `errors` lists them.",
    "Read the reason that is given for each part.",
    reason="NotReady",
    retry_after=2,
    concerns_all=True,
)
DRAINING = FailureKind(
    "draining",
    Part.SERVICE,
    503,
    Retry.LATER,
    "This server is shutting down.",
    "Send the request again: another server answers it.",
    reason="Draining",
    retry_after=2,
    concerns_all=True,
)
INTERNAL = FailureKind(
    "internal",
    Part.SERVICE,
    500,
    Retry.ONCE_MENDED,
    "An unexpected error occurred; the log of the server or of the run has its cause.",
    "Report it with the lines of the log.",
    reason="Unexpected",
)

# -- a run of ingestion ----------------------------------------------------------------------------

INVALID_CONFIG = FailureKind(
    "invalid-config",
    Part.SERVICE,
    500,
    Retry.NEVER,
    "The configuration of the run cannot be read.",
    "Use the same version of the operator and of the serving image.",
    reason="InvalidConfig",
    concerns_all=True,
)
INGESTION_BUSY = FailureKind(
    "ingestion-busy",
    Part.SERVICE,
    409,
    Retry.LATER,
    "Another run of the collection is in progress.",
    "Wait until it has finished.",
    reason="IngestionBusy",
    concerns_all=True,
    exits=RunExit.BUSY,
)
RAY_UNAVAILABLE = FailureKind(
    "ray-unavailable",
    Part.SERVICE,
    503,
    Retry.LATER,
    "The Ray cluster of an ingestion cannot be joined, or has no room for what the run needs.",
    "Start the cluster that the detail names, or add nodes to it.",
    reason="RayUnavailable",
    retry_after=5,
    concerns_all=True,
)
STOPPED = FailureKind(
    "stopped",
    Part.SERVICE,
    503,
    Retry.LATER,
    "The run was stopped before its end.",
    "Run it again: it continues where it stopped.",
    reason="Stopped",
    retry_after=2,
    concerns_all=True,
    exits=RunExit.TERMINATED,
)
SOURCES_UNREADABLE = FailureKind(
    "sources-unreadable",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "None of the sources could be listed.",
    "Correct what the message reports for each source.",
    reason="SourcesUnreadable",
    concerns_all=True,
)
BUCKET_NOT_FOUND = FailureKind(
    "bucket-not-found",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "There is no such bucket or container.",
    "Correct the bucket, the account or the endpoint of the source.",
    reason="BucketNotFound",
    concerns_all=True,
)
BUCKET_CREDENTIALS_REFUSED = FailureKind(
    "bucket-credentials-refused",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "The service of the bucket does not know the credentials, or there are none.",
    "Put valid ones into the Secret that `credentialsSecretRef` names, or give the pods an "
    "identity.",
    reason="BucketCredentialsRefused",
    concerns_all=True,
)
BUCKET_CREDENTIALS_EXPIRED = FailureKind(
    "bucket-credentials-expired",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "The credentials of the bucket have expired.",
    "Put new ones into the Secret that `credentialsSecretRef` names, or use the pods' own "
    "identity, which is renewed by itself.",
    reason="BucketCredentialsExpired",
    concerns_all=True,
)
BUCKET_ACCESS_DENIED = FailureKind(
    "bucket-access-denied",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "The credentials are valid and may not list or read the bucket.",
    "Grant them what the page of the source lists.",
    reason="BucketAccessDenied",
    concerns_all=True,
)
BUCKET_WRONG_REGION = FailureKind(
    "bucket-wrong-region",
    Part.SOURCE,
    503,
    Retry.ONCE_MENDED,
    "The bucket is in another region.",
    "Correct `region`, or remove it.",
    reason="BucketWrongRegion",
    concerns_all=True,
)
BUCKET_UNREACHABLE = FailureKind(
    "bucket-unreachable",
    Part.SOURCE,
    503,
    Retry.LATER,
    "The service of the bucket does not answer, or is too busy.",
    "Check `endpoint` and the network policies.",
    reason="BucketUnreachable",
    retry_after=5,
    concerns_all=True,
)
TOO_MANY_FAILURES = FailureKind(
    "too-many-failures",
    Part.SOURCE,
    422,
    Retry.NEVER,
    "More images failed than `ingestion.maxFailures` allows.",
    "Repair the images, or raise `spec.ingestion.maxFailures`.",
    reason="TooManyFailures",
    concerns_all=True,
)
NOTHING_INGESTED = FailureKind(
    "nothing-ingested",
    Part.SOURCE,
    422,
    Retry.NEVER,
    "Every image of the run failed.",
    "Correct what the message reports for the last image: it is often the cause for all.",
    reason="NothingIngested",
    concerns_all=True,
)
OUT_OF_MEMORY = FailureKind(
    "out-of-memory",
    Part.SERVICE,
    503,
    Retry.ONCE_MENDED,
    "The kernel killed the process because it exceeded its memory limit.",
    "Raise `spec.ingestion.resources.limits.memory`.",
    reason="OOMKilled",
    concerns_all=True,
)
UNKNOWN = FailureKind(
    "unknown",
    Part.SERVICE,
    500,
    Retry.ONCE_MENDED,
    "The run ended without a reason that this version knows.",
    "Read the log of its pods.",
    reason="IngestionFailed",
    concerns_all=True,
)

FAILURES: tuple[FailureKind, ...] = (
    *(row for row in list(globals().values()) if isinstance(row, FailureKind)),
    *IMAGES,
)
"""The whole table."""

OF_ENTRIES: tuple[FailureKind, ...] = (
    *(row for row in FAILURES if row.part is Part.IMAGE),
    INDEX_REFUSED,
    INTERNAL,
)
"""What a single entry of a source can fail for, while the run continues."""

_BY_CODE = {row.code: row for row in FAILURES}
_BY_REASON = {row.reason: row for row in FAILURES if row.reason is not None}


def by_code(code: str) -> FailureKind:
    """The row of a code. Raises KeyError."""
    return _BY_CODE[code]


def by_reason(reason: str | None) -> FailureKind:
    """The row of a condition's reason; `UNKNOWN` for none, and for one of another version."""
    return _BY_REASON.get(reason or "", UNKNOWN)
