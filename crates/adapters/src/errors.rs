//! The one mapping from what an SDK says went wrong to the [`Failure`]s that the state machine
//! matches. Every adapter goes through it, so that "worth another try" is decided in one place.

use std::error::Error;

use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cutover_core::Failure;

/// Error codes that say "later", whatever their HTTP status. Route 53 sends `Throttling` and
/// `PriorRequestNotComplete` (an earlier change of the zone is still being worked on) with 400.
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
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
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
/// A reply that cannot be read counts as transient: it comes from something between us and the
/// service, and whether the call took effect is not known, as after a timeout.
pub(crate) fn failure<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code();
            let transient = status >= 500
                || status == 429
                || code.is_some_and(|code| TRANSIENT_CODES.contains(&code));
            let said = match (code, service.err().message()) {
                (Some(code), Some(text)) => format!("{code}: {text}"),
                (Some(code), None) => code.to_owned(),
                (None, _) => format!("HTTP status {status}"),
            };
            let request = error.request_id().map(|id| format!(" (request {id})"));
            let message = format!("{what}: {said}{}", request.unwrap_or_default());
            if transient { Failure::TransientAws(message) } else { Failure::AwsRefused(message) }
        }
        SdkError::ConstructionFailure(_) => Failure::Internal(describe(what, error)),
        // The client would not even try: its own settings are wrong, and will be next time.
        SdkError::DispatchFailure(dispatch) if dispatch.is_user() => {
            Failure::Internal(describe(what, error))
        }
        // Timeouts, connections, unreadable replies; and what a later SDK may add.
        _ => Failure::TransientAws(describe(what, error)),
    }
}

/// `what` and the chain of causes, outermost first: `SdkError` itself only says
/// "dispatch failure".
fn describe(what: &str, error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&cause| cause.source());
    causes.fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

/// A reply without something that the service's API says is always there.
pub(crate) fn incomplete(what: &str, missing: &str) -> Failure {
    Failure::Internal(format!("{what}: the reply has no {missing}"))
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
        let mut meta = ErrorMetadata::builder().message("no luck");
        if let Some(code) = code {
            meta = meta.code(code);
        }
        SdkError::service_error(ListResourceRecordSetsError::generic(meta.build()), reply(status))
    }

    #[test]
    fn every_kind_of_error_has_its_name() {
        let table: Vec<(Any, &str)> = vec![
            (service(400, Some("Throttling")), "TransientAws"),
            (service(400, Some("ThrottlingException")), "TransientAws"),
            (service(400, Some("PriorRequestNotComplete")), "TransientAws"),
            (service(400, Some("RequestLimitExceeded")), "TransientAws"),
            (service(400, Some("TooManyRequestsException")), "TransientAws"),
            (service(429, Some("Anything")), "TransientAws"),
            (service(500, Some("InternalFailure")), "TransientAws"),
            (service(503, Some("ServiceUnavailable")), "TransientAws"),
            (service(502, None), "TransientAws"),
            (service(403, Some("AccessDenied")), "AwsRefused"),
            (service(404, Some("NoSuchHostedZone")), "AwsRefused"),
            (service(400, Some("ValidationError")), "AwsRefused"),
            (service(400, Some("ExpiredToken")), "AwsRefused"),
            (service(400, None), "AwsRefused"),
            (SdkError::timeout_error("slow"), "TransientAws"),
            (SdkError::response_error("cut off", reply(200)), "TransientAws"),
            (SdkError::dispatch_failure(ConnectorError::io("reset".into())), "TransientAws"),
            (SdkError::dispatch_failure(ConnectorError::timeout("slow".into())), "TransientAws"),
            (SdkError::dispatch_failure(ConnectorError::other("?".into(), None)), "TransientAws"),
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
    }
}
