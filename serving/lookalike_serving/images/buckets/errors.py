"""What services of buckets answer when they refuse, as rows of the table of failures.

Every service has its own codes, and clients wrap them in their own exceptions. Here each becomes
one `BucketError` that says in a line which bucket it is about and what to do.
"""

from __future__ import annotations

import re

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import (
    BUCKET_ACCESS_DENIED,
    BUCKET_CREDENTIALS_EXPIRED,
    BUCKET_CREDENTIALS_REFUSED,
    BUCKET_NOT_FOUND,
    BUCKET_UNREACHABLE,
    BUCKET_WRONG_REGION,
    FailureKind,
)
from lookalike_serving.images.errors import Code, ImageError

_BY_CODE: dict[str, FailureKind] = {
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "ResourceNotFound"),
        BUCKET_NOT_FOUND,
    ),
    **dict.fromkeys(
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidToken",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "AuthenticationFailed",
            "InvalidAuthenticationInfo",
            "NoAuthenticationInformation",
            "AuthenticationRequired",
            "PublicAccessNotPermitted",
            "RequestTimeTooSkewed",
        ),
        BUCKET_CREDENTIALS_REFUSED,
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
        BUCKET_CREDENTIALS_EXPIRED,
    ),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AllAccessDisabled",
            "AccountProblem",
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "InsufficientAccountPermissions",
            "UserProjectMissing",
        ),
        BUCKET_ACCESS_DENIED,
    ),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "TemporaryRedirect",
        ),
        BUCKET_WRONG_REGION,
    ),
}
_BY_STATUS = {
    301: BUCKET_WRONG_REGION,
    307: BUCKET_WRONG_REGION,
    401: BUCKET_CREDENTIALS_REFUSED,
    403: BUCKET_ACCESS_DENIED,
    404: BUCKET_NOT_FOUND,
}
_EXPIRED_SAS = ("not valid in the specified time frame", "Signed expiry time")
"""Azure has the code AuthenticationFailed for every shared access signature that it refuses."""
_UNSIGNED = frozenset({"NoAuthenticationInformation", "PublicAccessNotPermitted"})
"""What Azure answers to requests without credentials."""
ARCHIVED = frozenset({"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"})
NO_OBJECT = frozenset({"NoSuchKey", "BlobNotFound", "NoSuchObject"})
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_LONGEST = 200


class BucketError(Exception):
    """A bucket cannot be listed or read; the message names it and the remedy."""

    failure_kind: FailureKind = BUCKET_UNREACHABLE

    def __init__(self, message: str, kind: FailureKind) -> None:
        super().__init__(message)
        self.failure_kind = kind

    def __reduce__(self) -> tuple[type[BucketError], tuple[str, FailureKind]]:
        return type(self), (str(self), self.failure_kind)


def code_of(text: str) -> tuple[str | None, int | None]:
    """The service's code and HTTP status in the message of a client that wraps its answer."""
    code, status = _CODE.search(text), _STATUS.search(text)
    return (code[1] if code else None), (int(status[1]) if status else None)


def bucket_error(
    bucket: Bucket,
    code: str | None,
    status: int | None,
    said: str,
    *,
    anonymous: bool = False,
    region: str | None = None,
    kind: FailureKind | None = None,
) -> BucketError:
    """What to tell of an answer. `anonymous`: no credentials were found. `region`: the bucket's
    own, if the service told it. `kind`: if it is known otherwise than from the answer."""
    kind = kind or _BY_CODE.get(code or "")
    strange = kind is None and status == 404 and _is_wordless(code)
    if kind is None and not strange:
        kind = _BY_STATUS.get(status or 0)
    kind = kind or BUCKET_UNREACHABLE
    if kind is BUCKET_CREDENTIALS_REFUSED and any(each in said for each in _EXPIRED_SAS):
        kind = BUCKET_CREDENTIALS_EXPIRED
    anonymous = anonymous or (bucket.credentials is None and code in _UNSIGNED)
    if kind is BUCKET_ACCESS_DENIED and "failed to authenticate" in said:
        kind = BUCKET_CREDENTIALS_REFUSED  # Azure has one code for both
    if anonymous and kind in (BUCKET_ACCESS_DENIED, BUCKET_CREDENTIALS_REFUSED):
        return no_credentials(bucket)
    words = " ".join(said.split())[:_LONGEST]
    answer = f"{code}: {words}" if code and code not in words else words
    if strange:
        told = f"is not found, and what answers at {_at(bucket)} is no service of buckets: {_CHECK}"
    else:
        told = _CLOCK if code == "RequestTimeTooSkewed" else _TOLD[kind](bucket, region)
    return BucketError(f"{bucket} {told} ({answer})", kind)


def no_credentials(bucket: Bucket) -> BucketError:
    """No credentials were found, and the bucket is not public."""
    if bucket.credentials is not None:
        remedy = f"put them into the Secret {bucket.credentials.name}: {KEYS[bucket.scheme]}"
    else:
        remedy = (
            "name a Secret in credentialsSecretRef, give the pods an identity, or on one machine "
            f"set the environment variables {KEYS[bucket.scheme]}"
        )
    return BucketError(
        f"{bucket} is not public, and there are no credentials for it: {remedy}",
        BUCKET_CREDENTIALS_REFUSED,
    )


def tags_denied(bucket: Bucket, said: str) -> BucketError:
    """The objects may be read, and their tags may not."""
    needed = {
        "s3": "s3:GetObjectTagging",
        "az": "Storage Blob Data Owner, a role with the action blobs/tags/read, or a signature "
        "with the permission t",
    }
    return BucketError(
        f"{bucket} does not let the tags of its objects be read with {_credentials_of(bucket)}: "
        f"grant {needed.get(bucket.scheme, 'it')}, or remove metadata.tags "
        f"({' '.join(said.split())[:_LONGEST]})",
        BUCKET_ACCESS_DENIED,
    )


KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT_KEY",
    "az": "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
"""What credentials are called, in a Secret and in the environment."""


def _credentials_of(bucket: Bucket) -> str:
    if bucket.credentials is not None:
        return f"the credentials in the Secret {bucket.credentials.name}"
    return "the credentials of the environment or the pod's identity"


def _not_found(bucket: Bucket, _: str | None) -> str:
    what = "container" if bucket.scheme == "az" else "bucket"
    return f"does not exist: correct the {what}'s name or the endpoint"


def _refused(bucket: Bucket, _: str | None) -> str:
    return f"refuses {_credentials_of(bucket)}: correct them; what is read is {KEYS[bucket.scheme]}"


def _expired(bucket: Bucket, _: str | None) -> str:
    return f"refuses {_credentials_of(bucket)}: they have expired; renew them"


def _denied(bucket: Bucket, _: str | None) -> str:
    needed = {"s3": "s3:ListBucket and s3:GetObject", "gs": "Storage Object Viewer"}
    role = needed.get(
        bucket.scheme,
        "Storage Blob Data Reader, and allow this network in the firewall of the storage account",
    )
    return f"may not be listed or read with {_credentials_of(bucket)}: grant {role}"


def _region(bucket: Bucket, region: str | None) -> str:
    if region:
        return f"is in the region {region}: set region: {region}, or remove it"
    named = f" {bucket.region}" if bucket.region else ""
    return f"is in another region than{named or ' the one that was asked'}: correct region"


def _unreachable(bucket: Bucket, _: str | None) -> str:
    return f"cannot be reached at {_at(bucket)}: {_CHECK}"


def _at(bucket: Bucket) -> str:
    return bucket.endpoint or "the cloud provider's service"


_CHECK = "check the endpoint and the network, and try again"
_CLOCK = "refuses requests since the clock of this machine is wrong: set the clock"
_TOLD = {
    BUCKET_NOT_FOUND: _not_found,
    BUCKET_CREDENTIALS_REFUSED: _refused,
    BUCKET_CREDENTIALS_EXPIRED: _expired,
    BUCKET_ACCESS_DENIED: _denied,
    BUCKET_WRONG_REGION: _region,
    BUCKET_UNREACHABLE: _unreachable,
}


def object_error(bucket: Bucket, key: str, code: str | None) -> ImageError | None:
    """What concerns one object alone; None if the answer does not say so."""
    at = bucket.address(key)
    if code in ARCHIVED:
        return ImageError(
            Code.ARCHIVED,
            f"{at} is in an archive tier: restore it, or move it to a storage class that can be "
            "read",
        )
    return no_object(bucket, key) if code in NO_OBJECT else None


def leaves_open_what_is_missing(code: str | None, status: int | None) -> bool:
    """Whether an answer about an object says neither that it is missing nor that the bucket is.

    The answer to HEAD has no words, and neither has that of a proxy, or of whatever else is found
    at the endpoint while the service is not.
    """
    return status == 404 and code not in _BY_CODE and code not in NO_OBJECT


def no_object(bucket: Bucket, key: str) -> ImageError:
    at = bucket.address(key)
    return ImageError(
        Code.NOT_FOUND, f"there is no object {at} any more: ingest again, or add it again"
    )


def stray(bucket: Bucket, key: str, said: str) -> BucketError:
    """An object that is listed was said not to be there, in no words of a service of buckets."""
    return BucketError(
        f"{bucket.address(key)} is listed, and yet reading it was answered as if it were missing "
        f"({said}): check what answers at {_at(bucket)}, such as a proxy, and try again",
        BUCKET_UNREACHABLE,
    )


def _is_wordless(code: str | None) -> bool:
    """Whether it is no service's own: clients use the status if there is none."""
    return not code or code.isdigit()


def too_large(bucket: Bucket, key: str, size: int, most: int) -> ImageError:
    return ImageError(
        Code.TOO_LARGE,
        f"{bucket.address(key)} has {size:,} bytes, more than the limit of {most:,}: use a smaller "
        "version of it",
    )
