//! A stand-in for AWS below the SDK: requests arrive typed, answers go back typed or as raw HTTP,
//! and each try of a call is a request of its own, so that the SDK's retries are seen.
//!
//! Written out rather than taken from `aws-smithy-mocks`, whose features (`test-util`) would make
//! `cargo test` build every SDK crate a second time.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    FinalizerInterceptorContextMut, Input, Output,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;

/// Answers that a service may give, each with the name of the failure that it must become.
pub type Classes<const N: usize> = [(fn() -> Answer, &'static str); N];

/// What a service answers to one try of a call.
pub enum Answer {
    Output(Output),
    Http(u16, String),
    /// A reply of HTTP status 200 that may be no text.
    Bytes(Vec<u8>),
    /// The connection breaks before a reply.
    Lost,
}

impl Answer {
    pub fn ok<T: fmt::Debug + Send + Sync + 'static>(output: T) -> Self {
        Self::Output(Output::erase(output))
    }

    /// An error as the XML protocols write it.
    pub fn xml_error(status: u16, code: &str, message: &str) -> Self {
        Self::Http(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
            ),
        )
    }

    /// An error as the JSON protocols write it.
    pub fn json_error(status: u16, code: &str, message: &str) -> Self {
        Self::Http(status, format!(r#"{{"__type":"{code}","message":"{message}"}}"#))
    }
}

type Kept = Box<dyn Any + Send + Sync>;
type Keep = Box<dyn Fn(&Input) -> Option<Kept> + Send + Sync>;
type Respond = Box<dyn Fn(&Kept) -> Answer + Send + Sync>;

/// The operations that a test expects; any other fails it.
#[derive(Default)]
pub struct Fake {
    operations: Vec<(Keep, Respond)>,
    /// The call being made: which operation, and its input, for each try.
    current: Mutex<Option<(usize, Kept)>>,
    /// The answer to the present try.
    pending: Mutex<Option<Answer>>,
}

impl Fake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers each try of the operation with this input type.
    pub fn on<I: Clone + fmt::Debug + Send + Sync + 'static>(
        mut self,
        respond: impl Fn(&I) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.operations.push((
            Box::new(|input| {
                input.downcast_ref::<I>().map(|input| Box::new(input.clone()) as Kept)
            }),
            Box::new(move |kept| {
                respond(kept.downcast_ref::<I>().expect("kept by this operation"))
            }),
        ));
        self
    }

    pub fn share(self) -> Shared {
        Shared(Arc::new(self))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
pub struct Shared(Arc<Fake>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Shared {
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }
}

impl Intercept for Shared {
    fn name(&self) -> &'static str {
        "Fake"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input();
        let mut kept = self.0.operations.iter().enumerate();
        let kept = kept.find_map(|(index, (keep, _))| Some((index, keep(input)?)));
        assert!(kept.is_some(), "unexpected call: {input:?}");
        *lock(&self.0.current) = kept;
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let current = lock(&self.0.current);
        let (operation, input) = current.as_ref().expect("serialized before");
        *lock(&self.0.pending) = Some((self.0.operations[*operation].1)(input));
        Ok(())
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Answer::Output(output)) = lock(&self.0.pending).take() {
            context.inner_mut().set_output_or_error(Ok(output));
        }
        Ok(())
    }
}

impl HttpConnector for Shared {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let mut pending = lock(&self.0.pending);
        let (status, body) = match pending.take() {
            Some(Answer::Http(status, body)) => (status, body.into_bytes()),
            Some(Answer::Bytes(body)) => (200, body),
            Some(Answer::Lost) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::io("reset by peer".into())));
            }
            // A typed answer replaces whatever comes of this one.
            output => {
                *pending = output;
                (400, Vec::new())
            }
        };
        let status = StatusCode::try_from(status).expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

/// A client of one SDK crate whose calls go to a [`Fake`].
macro_rules! client {
    ($sdk:ident, $fake:expr) => {{
        let fake = $fake.share();
        let retry = $sdk::config::retry::RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(std::time::Duration::from_millis(1));
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .region($sdk::config::Region::new("eu-central-1"))
                .credentials_provider($sdk::config::Credentials::new(
                    "id", "key", None, None, "test",
                ))
                .retry_config(retry)
                .http_client(fake.http_client())
                .interceptor(fake)
                .interceptor(adapters::replies::WholeReplies)
                .build(),
        )
    }};
}
pub(crate) use client;
