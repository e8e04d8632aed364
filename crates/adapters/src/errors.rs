//! The one mapping from what an SDK says went wrong to the [`Failure`]s that the state machine
//! matches. Every adapter goes through it, so that "worth another try" is decided in one place.

use std::error::Error;

use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::operation::RequestId;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cutover_core::Failure;

/// Error codes that say "later", whatever their HTTP status. Route 53 sends `Throttling` and
/// `PriorRequestNotComplete` (an earlier change of the zone is still being worked on) with 400. Those about
/// the time of a request come of a clock that is off for a while, or of a request that was long on its way.
/// Source: Smithy Reference Architecture "Retry behavior" (error code lists), and the common
/// errors of the services' API references.
const TRANSIENT_CODES: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "InternalServiceFault",
    "PriorRequestNotComplete",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Names the failure of one call. `what` says what was attempted, with the resource:
/// `ListResourceRecordSets of zone Z1`.
///
/// A reply that cannot be read counts as transient, whatever its HTTP status: it comes from something between
/// us and the service, and whether the call took effect is not known, as after a timeout. An error without a
/// code is such a reply: every service has one in each of its errors.
pub(crate) fn failure<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let (code, text) = (service.err().code(), service.err().message());
            let transient = status >= 500
                || status == 429
                || code.is_none_or(|code| TRANSIENT_CODES.contains(&code))
                || is_of_another_time(code, text);
            let said = match (code, text) {
                (Some(code), Some(text)) => format!("{code}: {text}"),
                (Some(code), None) => code.to_owned(),
                (None, _) => format!("the reply, of HTTP status {status}, cannot be read"),
            };
            let request = error.request_id().map(|id| format!(" (request {id})"));
            let message = format!("{what}: {said}{}", request.unwrap_or_default());
            if transient { Failure::Unreachable(message) } else { Failure::Refused(message) }
        }
        SdkError::ConstructionFailure(_) => Failure::Internal(describe(what, error)),
        // The client would not even try: its own settings are wrong, and will be next time.
        SdkError::DispatchFailure(dispatch) if dispatch.is_user() => {
            Failure::Internal(describe(what, error))
        }
        // Timeouts, connections, unreadable replies; and what a later SDK may add.
        _ => match refused_role(error) {
            // The call was not made, because its role was not given: what STS answered counts.
            Some(refused) => {
                failure(&format!("{what}: the role in HostedZoneRoleArn was not assumed"), refused)
            }
            None => Failure::Unreachable(describe(what, error)),
        },
    }
}

/// What a call brought; `None` where the service answers that what it is about is not there.
///
/// # Errors
/// As [`failure`].
pub(crate) fn if_there<T, E>(
    what: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
    is_missing: fn(&E) -> bool,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match sent {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.as_service_error().is_some_and(is_missing) => Ok(None),
        Err(error) => Err(failure(what, &error)),
    }
}

/// What STS answered when the call needed a role and did not get it. The SDK reports that as a connection that
/// could not be made.
fn refused_role<'e>(
    error: &'e (dyn Error + 'static),
) -> Option<&'e SdkError<AssumeRoleError, HttpResponse>> {
    // Beneath the error itself, which is one of STS when this is asked of its own.
    causes(error).skip(1).find_map(|cause| cause.downcast_ref())
}

/// Whether a signature was refused for its time alone. One that is wrong has the same codes.
/// Source: IAM user guide, "Troubleshoot Signature Version 4 signed requests for AWS APIs".
fn is_of_another_time(code: Option<&str>, text: Option<&str>) -> bool {
    matches!(code, Some("SignatureDoesNotMatch" | "InvalidSignatureException"))
        && text.is_some_and(|text| {
            text.contains("Signature expired") || text.contains("Signature not yet current")
        })
}

/// `what` and the chain of causes, outermost first: `SdkError` itself only says
/// "dispatch failure".
fn describe(what: &str, error: &(dyn Error + 'static)) -> String {
    causes(error).fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

/// The error and what caused it, outermost first.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// A reply without something that the service's API says is always there: as one that cannot be read.
pub(crate) fn incomplete(what: &str, missing: &str) -> Failure {
    Failure::Unreachable(format!("{what}: the reply has no {missing}"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_route53::error::ErrorMetadata;
    use aws_sdk_route53::operation::list_resource_record_sets::ListResourceRecordSetsError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    type Any = SdkError<ListResourceRecordSetsError, HttpResponse>;

    fn reply(status: u16) -> HttpResponse {
        HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::empty())
    }

    fn service(status: u16, code: Option<&str>) -> Any {
        saying(status, code, "no luck")
    }

    fn saying(status: u16, code: Option<&str>, message: &str) -> Any {
        let mut meta = ErrorMetadata::builder().message(message);
        if let Some(code) = code {
            meta = meta.code(code);
        }
        SdkError::service_error(ListResourceRecordSetsError::generic(meta.build()), reply(status))
    }

    #[test]
    fn every_kind_of_error_has_its_name() {
        let expired = "Signature expired: 20261125T074514Z is now earlier than 20261125T074556Z";
        let early =
            "Signature not yet current: 20261125T081514Z is still later than 20261125T080056Z";
        let wrong = "The request signature we calculated does not match the signature you provided";
        let table: Vec<(Any, &str)> = vec![
            (service(400, Some("Throttling")), "Unreachable"),
            (service(400, Some("ThrottlingException")), "Unreachable"),
            (service(400, Some("PriorRequestNotComplete")), "Unreachable"),
            (service(400, Some("RequestLimitExceeded")), "Unreachable"),
            (service(400, Some("TooManyRequestsException")), "Unreachable"),
            (service(429, Some("Anything")), "Unreachable"),
            (service(500, Some("InternalFailure")), "Unreachable"),
            (service(503, Some("ServiceUnavailable")), "Unreachable"),
            (service(502, None), "Unreachable"),
            (service(403, Some("AccessDenied")), "Refused"),
            (service(404, Some("NoSuchHostedZone")), "Refused"),
            (service(400, Some("ValidationError")), "Refused"),
            (service(400, Some("ExpiredToken")), "Refused"),
            (service(403, Some("RequestTimeTooSkewed")), "Unreachable"),
            (service(400, Some("RequestExpired")), "Unreachable"),
            (saying(403, Some("SignatureDoesNotMatch"), expired), "Unreachable"),
            (saying(403, Some("SignatureDoesNotMatch"), early), "Unreachable"),
            (saying(400, Some("InvalidSignatureException"), expired), "Unreachable"),
            (saying(403, Some("SignatureDoesNotMatch"), wrong), "Refused"),
            (saying(400, Some("InvalidSignatureException"), wrong), "Refused"),
            (saying(403, Some("AccessDenied"), expired), "Refused"),
            (service(200, None), "Unreachable"),
            (service(400, None), "Unreachable"),
            (service(404, None), "Unreachable"),
            (SdkError::timeout_error("slow"), "Unreachable"),
            (SdkError::response_error("cut off", reply(200)), "Unreachable"),
            (SdkError::dispatch_failure(ConnectorError::io("reset".into())), "Unreachable"),
            (SdkError::dispatch_failure(ConnectorError::timeout("slow".into())), "Unreachable"),
            (SdkError::dispatch_failure(ConnectorError::other("?".into(), None)), "Unreachable"),
            (SdkError::dispatch_failure(ConnectorError::user("bad".into())), "Internal"),
            (SdkError::construction_failure("no zone"), "Internal"),
        ];
        for (error, name) in table {
            assert_eq!(failure("Listing", &error).name(), name, "{error:?}");
        }
    }

    #[test]
    fn the_message_says_what_was_attempted_and_what_came_back() {
        let mut refused = reply(403);
        refused.headers_mut().insert("x-amzn-requestid", "r-1");
        let meta = ErrorMetadata::builder().code("AccessDenied").message("not yours").build();
        let error: Any =
            SdkError::service_error(ListResourceRecordSetsError::generic(meta), refused);
        assert_eq!(
            failure("ListResourceRecordSets of zone Z1", &error).to_string(),
            "ListResourceRecordSets of zone Z1: AccessDenied: not yours (request r-1)"
        );
        let lost: Any = SdkError::dispatch_failure(ConnectorError::io("reset by peer".into()));
        assert_eq!(
            failure("Listing", &lost).to_string(),
            "Listing: dispatch failure: io error: reset by peer"
        );
        assert_eq!(
            failure("Listing", &service(200, None)).to_string(),
            "Listing: the reply, of HTTP status 200, cannot be read"
        );
    }
}
