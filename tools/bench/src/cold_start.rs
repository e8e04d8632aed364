//! Cold starts: the functions as `cargo lambda` builds them, side by side with a bare runtime and with
//! Python and boto3, from exec to the first answer of AWS over https.
//!
//! All run in turns in one session, so that whatever else the machine does hits all alike. AWS is
//! a TLS server with canned replies, the same for all; DNS, network and the start of a microVM come on
//! top of these times, again the same for all.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::program::run_until;
use crate::stubs::{self, Seen};
use crate::table::markdown;
use lab::error::LabError;
use lab::functions;
use lab::python::Venv;

/// What the functions must not pass: see the issue "A real cutover, end to end".
const TIMES_HELLO_MAX: f64 = 3.5;
const SOONER_THAN_BOTO3_MIN: f64 = 20.0;
const PEAK_KIB_MAX: u64 = 12 * 1024;
const ZIP_BYTES_MAX: u64 = 4_000_000;

/// How long one start may take; Python needs half a second.
const RUN_MAX: Duration = Duration::from_secs(30);

/// The functions, the event that each is given, and its first call. A function makes no further
/// calls before the first is answered, but for `check-health`, which asks CloudWatch beside it.
const FUNCTIONS: [(&str, &str, FirstCall); 4] = [
    ("validate", "validate-mistakes.json", FirstCall::GetParameter),
    ("shift-weight", "shift-weight-first-step.json", FirstCall::ListResourceRecordSets),
    ("check-health", "check-health-baking.json", FirstCall::ListResourceRecordSets),
    ("rollback", "rollback-regressed.json", FirstCall::DescribeLoadBalancers),
];

/// The example times of `events/`, and how many seconds ago each is to be.
const TIMES: [(&str, i64); 4] = [
    ("2026-03-17T09:30:00Z", 1200),
    ("2026-03-17T09:40:00Z", 600),
    ("2026-03-17T09:41:20Z", 520),
    ("2026-03-17T09:45:00Z", 300),
];

/// The first call of AWS that a function makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FirstCall {
    /// Of SSM.
    GetParameter,
    /// Of Route 53.
    ListResourceRecordSets,
    /// Of Elastic Load Balancing.
    DescribeLoadBalancers,
}

impl FirstCall {
    const ALL: [Self; 3] =
        [Self::GetParameter, Self::ListResourceRecordSets, Self::DescribeLoadBalancers];

    /// The same call in boto3: service, operation and arguments.
    fn boto3(self) -> (&'static str, &'static str, Value) {
        match self {
            Self::GetParameter => ("ssm", "get_parameter", json!({"Name": "/cutover/defaults"})),
            Self::ListResourceRecordSets => (
                "route53",
                "list_resource_record_sets",
                json!({"HostedZoneId": "Z0123456789EXAMPLE", "MaxItems": "300"}),
            ),
            Self::DescribeLoadBalancers => {
                ("elbv2", "describe_load_balancers", json!({"Names": ["k8s-blue"]}))
            }
        }
    }
}

/// What kind of program a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The bare runtime.
    Hello,
    /// One of cutover's functions.
    Function,
    /// Python with boto3.
    Boto3,
}

/// A program to start.
struct Subject {
    name: String,
    kind: Kind,
    first_call: Option<FirstCall>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
    event: String,
    size: Option<Size>,
}

/// What is uploaded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// The executable.
    pub binary_bytes: u64,
    /// Its zip file.
    pub zip_bytes: u64,
}

/// One start; times in milliseconds from exec.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Until the runtime API was asked for the first event.
    pub poll_ms: f64,
    /// Until AWS had sent all of its first answer.
    pub answer_ms: Option<f64>,
    /// Until the runtime API had the response to the first event.
    pub response_ms: f64,
    /// Resident memory after that, and its peak, in KiB (`VmRSS`, `VmHWM`).
    pub resident_kib: u64,
    /// See above.
    pub peak_kib: u64,
}

/// All starts of one program.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its first call, if it makes one.
    pub first_call: Option<FirstCall>,
    /// What is uploaded, for a program of Rust.
    pub size: Option<Size>,
    /// In the order of the runs.
    pub samples: Vec<Sample>,
}

/// Median and 90th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    p90: f64,
}

impl Spread {
    /// `None` when there is no value.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Self { median: percentile(&values, 50)?, p90: percentile(&values, 90)? })
    }
}

/// The smallest value that this many percent of the sorted values do not exceed (nearest rank).
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

impl Row {
    fn poll(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.poll_ms))
    }

    fn answer(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| sample.answer_ms))
    }

    fn response(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.response_ms))
    }

    fn peak_kib(&self) -> u64 {
        self.samples.iter().map(|sample| sample.peak_kib).max().unwrap_or_default()
    }

    fn resident_kib(&self) -> u64 {
        self.samples.iter().map(|sample| sample.resident_kib).max().unwrap_or_default()
    }

    /// Its first answer of AWS in terms of the bare runtime's first response.
    fn times_hello(&self, rows: &[Self]) -> Option<f64> {
        let hello = rows.iter().find(|row| row.kind == Kind::Hello)?;
        Some(self.answer()?.median / hello.response()?.median)
    }

    /// How many times as long boto3 takes for the same.
    fn sooner_than_boto3(&self, rows: &[Self]) -> Option<f64> {
        let same = |row: &&Self| row.kind == Kind::Boto3 && row.first_call == self.first_call;
        Some(rows.iter().find(same)?.answer()?.median / self.answer()?.median)
    }
}

/// Every target that a function misses, in a sentence.
#[must_use]
pub fn missed(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Function) {
        let mut miss = |what: String| missed.push(format!("{}: {what}", row.name));
        let times = row.times_hello(rows).unwrap_or(f64::INFINITY);
        if times > TIMES_HELLO_MAX {
            miss(format!(
                "the first answer takes {times:.2} times as long as the bare runtime's first \
                 response, more than {TIMES_HELLO_MAX}"
            ));
        }
        let sooner = row.sooner_than_boto3(rows).unwrap_or_default();
        if sooner < SOONER_THAN_BOTO3_MIN {
            miss(format!(
                "the first answer comes {sooner:.1} times sooner than boto3's, less than \
                 {SOONER_THAN_BOTO3_MIN}"
            ));
        }
        if row.peak_kib() >= PEAK_KIB_MAX {
            miss(format!("{} KiB resident, not less than {PEAK_KIB_MAX}", row.peak_kib()));
        }
        let zip_bytes = row.size.map_or(u64::MAX, |size| size.zip_bytes);
        if zip_bytes >= ZIP_BYTES_MAX {
            miss(format!("its zip has {zip_bytes} bytes, not less than {ZIP_BYTES_MAX}"));
        }
    }
    missed
}

/// The rows as a table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    const HEADER: [&str; 9] = [
        "median (90th percentile)",
        "binary / zip, MB",
        "resident / peak, MiB",
        "exec → first poll, ms",
        "exec → first AWS answer, ms",
        "exec → first response, ms",
        "first answer ÷ hello's response",
        "boto3's first answer ÷ this",
        "targets",
    ];
    let missed = missed(rows);
    let none = || "–".to_owned();
    let spread = |of: Option<Spread>| {
        of.map_or_else(none, |Spread { median, p90 }| format!("{median:.1} ({p90:.1})"))
    };
    let cells = |row: &Row| {
        let name = match row.first_call {
            Some(call) => format!("{}: {call:?}", row.name),
            None => row.name.clone(),
        };
        let size =
            |size: Size| format!("{:.1} / {:.1}", mega(size.binary_bytes), mega(size.zip_bytes));
        let function = row.kind == Kind::Function;
        let ratio = |of: Option<f64>| {
            of.filter(|_| function).map_or_else(none, |ratio| format!("{ratio:.1}"))
        };
        let targets = match missed.iter().any(|miss| miss.starts_with(&format!("{}:", row.name))) {
            _ if !function => none(),
            true => "missed".to_owned(),
            false => "met".to_owned(),
        };
        vec![
            name,
            row.size.map_or_else(none, size),
            format!("{:.1} / {:.1}", mebi(row.resident_kib()), mebi(row.peak_kib())),
            spread(row.poll()),
            spread(row.answer()),
            spread(row.response()),
            ratio(row.times_hello(rows)),
            ratio(row.sooner_than_boto3(rows)),
            targets,
        ]
    };
    markdown(&HEADER, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn mebi(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Starts every program `runs` times; `say` hears what is going on.
///
/// # Errors
/// Whatever keeps a program from being built, started or heard of.
pub async fn measure(root: &Path, runs: usize, say: impl Fn(&str)) -> Result<Vec<Row>, LabError> {
    let venv = Venv::ready(&root.join("target")).await?;
    say("cold starts: building the functions as for a release");
    let subjects = subjects(root, &venv).await?;
    let aws = Aws::new(&venv).await?;
    let mut rows: Vec<Row> = subjects.iter().map(Subject::row).collect();
    for run in 0..runs {
        say(&format!("cold starts: run {} of {runs}", run + 1));
        // Nobody always comes first, nor always after the same neighbour.
        let mut turns: Vec<_> = rows.iter_mut().zip(&subjects).collect();
        turns.rotate_left(run % subjects.len());
        if run % 2 == 1 {
            turns.reverse();
        }
        for (row, subject) in turns {
            row.samples.push(start(subject, &aws).await?);
        }
    }
    Ok(rows)
}

/// The programs as for a release: `hello`, then the functions in the order of [`functions::NAMES`].
pub async fn release_programs(root: &Path) -> Result<Vec<PathBuf>, LabError> {
    // The packages by name, as `cargo lambda` does: a build of the workspace would turn on features
    // of dependencies for the lab and the tests that a deployed function does without.
    let mut arguments = vec!["--release", "--bins", "--example", "hello", "-p", "adapters"];
    let mut names = vec!["hello"];
    for name in functions::NAMES {
        arguments.extend(["-p", name]);
        names.push(name);
    }
    functions::cargo_build(root, &arguments, &names).await
}

/// Everything that is started.
async fn subjects(root: &Path, venv: &Venv) -> Result<Vec<Subject>, LabError> {
    let mut programs = release_programs(root).await?.into_iter();
    let mut program = |name: &str| {
        programs.next().ok_or_else(|| LabError::Build(format!("cargo built no executable {name}")))
    };
    let environment = vec![
        ("DEFAULTS_PARAMETER", "/cutover/defaults".to_owned()),
        ("HOSTED_ZONE_ID", "Z0123456789EXAMPLE".to_owned()),
        (
            "STATE_MACHINE_ARN",
            "arn:aws:states:eu-central-1:123456789012:stateMachine:cutover".to_owned(),
        ),
    ];
    let rust = |name: &str, kind, first_call, event, program: PathBuf| {
        Ok::<_, LabError>(Subject {
            name: name.to_owned(),
            kind,
            first_call,
            size: Some(size(&program)?),
            program,
            arguments: Vec::new(),
            environment: environment.clone(),
            event,
        })
    };
    let mut subjects =
        vec![rust("hello world", Kind::Hello, None, "{}".to_owned(), program("hello")?)?];
    for (name, file, first_call) in FUNCTIONS {
        let event = event(&root.join("events").join(file))?;
        subjects.push(rust(name, Kind::Function, Some(first_call), event, program(name)?)?);
    }
    for first_call in FirstCall::ALL {
        let (service, operation, arguments) = first_call.boto3();
        subjects.push(Subject {
            name: format!("boto3 {service}"),
            kind: Kind::Boto3,
            first_call: Some(first_call),
            program: venv.python(),
            arguments: vec![root.join("tools/bench/boto3_function.py").into()],
            environment: vec![
                ("SERVICE", service.to_owned()),
                ("OPERATION", operation.to_owned()),
                ("ARGUMENTS", arguments.to_string()),
            ],
            event: "{}".to_owned(),
            size: None,
        });
    }
    Ok(subjects)
}

/// The executable's size, and its zip's at deflate level 9, as `cargo lambda build` packs it.
fn size(program: &Path) -> Result<Size, LabError> {
    let doing = || format!("pack {}", program.display());
    let binary = fs::read(program).map_err(|error| LabError::io(doing(), error))?;
    let deflate = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9));
    let zip = functions::zip(&binary, deflate);
    let zip = zip.map_err(|error| LabError::io(doing(), error.into()))?;
    let bytes = |of: &[u8]| u64::try_from(of.len()).unwrap_or(u64::MAX);
    Ok(Size { binary_bytes: bytes(&binary), zip_bytes: bytes(&zip) })
}

/// A sample event that happens now: one of months ago would have months of evidence.
fn event(file: &Path) -> Result<String, LabError> {
    let text = fs::read_to_string(file)
        .map_err(|error| LabError::io(format!("read {}", file.display()), error))?;
    let ago = |seconds| (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string();
    Ok(TIMES.iter().fold(text, |text, (example, seconds)| text.replace(example, &ago(*seconds))))
}

/// A TLS server's identity, and the file of the roots that its callers trust.
struct Aws {
    tls: TlsAcceptor,
    roots: PathBuf,
}

impl Aws {
    /// A certificate for `localhost`, signed by an authority of its own that is added to botocore's
    /// roots: as in Lambda, a function reads a file with all public authorities.
    async fn new(venv: &Venv) -> Result<Self, LabError> {
        let (authority, tls) = identity().map_err(|reason| LabError::Aws {
            doing: "make a certificate".to_owned(),
            reason: reason.to_string(),
        })?;
        let doing = "collect the roots of TLS";
        let script = "import botocore, sys; sys.stdout.write(botocore.__path__[0])";
        let found = Command::new(venv.python()).args(["-c", script]).output().await;
        let found = found.map_err(|error| LabError::io(doing, error))?;
        let botocore = PathBuf::from(String::from_utf8_lossy(&found.stdout).into_owned());
        let mut roots = fs::read_to_string(botocore.join("cacert.pem"))
            .map_err(|error| LabError::io(doing, error))?;
        roots.push_str(&authority);
        let file = venv.target_dir().join("lab/bench-roots.pem");
        fs::create_dir_all(venv.target_dir().join("lab"))
            .and_then(|()| fs::write(&file, roots))
            .map_err(|error| LabError::io(doing, error))?;
        Ok(Self { tls, roots: file })
    }
}

/// The authority in PEM, and a server with a certificate of it.
fn identity() -> Result<(String, TlsAcceptor), Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    // Not the name that is given by default: with the same as its issuer, a certificate passes for
    // one that has signed itself.
    authority.distinguished_name.push(DnType::CommonName, "lab");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    let authority = Issuer::new(authority, key);

    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    Ok((pem, TlsAcceptor::from(Arc::new(config))))
}

/// Starts a program, gives it one event, and ends it when it asks for the next.
async fn start(subject: &Subject, aws: &Aws) -> Result<Sample, LabError> {
    let doing = || format!("start {}", subject.name);
    let cannot = |error| LabError::io(doing(), error);
    let failed = |reason: String| LabError::Aws { doing: doing(), reason };
    let (log, mut seen) = mpsc::unbounded_channel();
    let mut servers = JoinSet::new();
    let (runtime, runtime_port) = stubs::listen().await.map_err(cannot)?;
    let (endpoint, endpoint_port) = stubs::listen().await.map_err(cannot)?;
    servers.spawn(stubs::serve_runtime(runtime, subject.event.clone().into(), log.clone()));
    servers.spawn(stubs::serve_aws(endpoint, aws.tls.clone(), log));

    let mut command = Command::new(&subject.program);
    command
        .args(&subject.arguments)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{runtime_port}"))
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_SESSION_TOKEN", "test")
        .env("AWS_REGION", lab::aws::REGION)
        .env("AWS_DEFAULT_REGION", lab::aws::REGION)
        .env("AWS_ENDPOINT_URL", format!("https://localhost:{endpoint_port}"))
        .env("SSL_CERT_FILE", &aws.roots)
        .env("AWS_CA_BUNDLE", &aws.roots)
        .envs(subject.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let begin = Instant::now();
    let (mut poll, mut answer, mut response) = (None, None, None);
    let heard = async {
        while let Some((seen, at)) = seen.recv().await {
            let after = Some(at.duration_since(begin).as_secs_f64() * 1e3);
            match seen {
                Seen::Poll if poll.is_none() => poll = after,
                Seen::Poll => break,
                Seen::Answer => answer = answer.or(after),
                Seen::Response(_) => response = response.or(after),
                Seen::Broken(why) => return Err(failed(why)),
            }
        }
        Ok(())
    };
    let ((), status) = run_until(heard, &mut command, &doing(), RUN_MAX).await?;
    let memory =
        |field| kib(&status, field).ok_or_else(|| failed(format!("its status has no {field}")));
    if subject.first_call.is_some() && answer.is_none() {
        return Err(failed("it made no call of AWS".to_owned()));
    }
    Ok(Sample {
        poll_ms: poll.unwrap_or_default(),
        answer_ms: answer,
        response_ms: response.ok_or_else(|| failed("it did not respond".to_owned()))?,
        resident_kib: memory("VmRSS")?,
        peak_kib: memory("VmHWM")?,
    })
}

/// A field of `/proc/PID/status` in KiB.
pub fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Subject {
    fn row(&self) -> Row {
        Row {
            name: self.name.clone(),
            kind: self.kind,
            first_call: self.first_call,
            size: self.size,
            samples: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=30).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(15.0));
        assert_eq!(percentile(&values, 90), Some(27.0));
        assert_eq!(percentile(&[7.0], 90), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(spread, Some(Spread { median: 2.0, p90: 3.0 }));
    }

    #[test]
    fn memory_is_read_from_the_status_of_a_process() {
        let status = "Name:\tvalidate\nVmHWM:\t    7168 kB\nVmRSS:\t    7000 kB\n";
        assert_eq!((kib(status, "VmHWM"), kib(status, "VmRSS")), (Some(7168), Some(7000)));
        assert_eq!(kib(status, "VmSwap"), None);
    }

    fn row(kind: Kind, answer_ms: f64, peak_kib: u64, zip_bytes: u64) -> Row {
        let answer = (kind != Kind::Hello).then_some(answer_ms);
        let (poll_ms, response_ms) = (1.0, answer_ms);
        let sample =
            Sample { poll_ms, answer_ms: answer, response_ms, resident_kib: peak_kib, peak_kib };
        Row {
            name: format!("{kind:?}"),
            kind,
            first_call: (kind != Kind::Hello).then_some(FirstCall::GetParameter),
            size: Some(Size { binary_bytes: 2 * zip_bytes, zip_bytes }),
            samples: vec![sample],
        }
    }

    #[test]
    fn each_target_that_a_function_misses_is_told() {
        let others = [row(Kind::Hello, 2.0, 1, 1), row(Kind::Boto3, 140.0, 1, 1)];
        let judge = |answer_ms, peak_kib, zip_bytes| {
            let function = row(Kind::Function, answer_ms, peak_kib, zip_bytes);
            missed(&[&others[..], &[function]].concat())
        };
        assert_eq!(judge(7.0, 12_287, 3_999_999), Vec::<String>::new());
        for (answer_ms, peak_kib, zip_bytes, count) in [
            (7.1, 1, 1, 2),
            (7.0, 12_288, 1, 1),
            (7.0, 1, 4_000_000, 1),
            (9.0, 12_288, 4_000_000, 4),
        ] {
            assert_eq!(judge(answer_ms, peak_kib, zip_bytes).len(), count, "{answer_ms}");
        }
    }
}
