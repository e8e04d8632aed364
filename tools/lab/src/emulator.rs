//! The emulated AWS: one `ministack` process with the Lambda processes it starts, and beside it, where load
//! balancers must keep the weights of target groups, one `moto` process.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{LabError, tail_of};
use crate::proxy::Proxy;
use crate::python::Venv;

/// How long the emulator may take to answer; it needs about a second when nothing else runs.
const READY_MAX: Duration = Duration::from_mins(1);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long it may take to end by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
/// Tries with other free ports, when somebody takes the chosen one in between.
const PORT_TRIES: u32 = 3;

/// Ends an emulator with all its Lambda processes when this program is gone, however it went: standard input is a
/// pipe from it, which closes even when it is killed or never drops what it holds.
const WATCH: &str = "
import json, os, runpy, shutil, signal, sys, threading
def watch():
    os.read(0, 1)
    shutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
";

/// Runs ministack.
///
/// EventBridge invokes functions asynchronously, so Lambda tries one that fails twice more. The
/// emulator does so for every asynchronous invocation but EventBridge's own: here for those as well.
const MINISTACK: &str = "
from ministack.services import eventbridge, lambda_svc
once = eventbridge._dispatch_to_lambda
def with_repeats(arn, payload):
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if function and config:
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))
    else:
        once(arn, payload)
eventbridge._dispatch_to_lambda = with_repeats
sys.argv = ['ministack']
runpy.run_module('ministack', run_name='__main__')
";

/// Runs moto.
///
/// It wants load balancers in networks that it knows, by ids that it draws; ministack takes any. Here every id
/// stands for the account's default network. And it names the load balancer of a target group once for each rule
/// that forwards there; here it does so once, as AWS does.
const MOTO: &str = "
from moto.ec2.models import EC2Backend
from moto.elbv2.models import FakeTargetGroup
EC2Backend.get_vpc = lambda self, vpc_id: next(iter(self.vpcs.values()))
EC2Backend.get_subnet = lambda self, subnet_id: next(iter(self.get_default_subnets().values()))
class Once(list):
    def append(self, arn):
        if arn not in self:
            super().append(arn)
begin = FakeTargetGroup.__init__
def begin_with_once(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    self.load_balancer_arns = Once()
FakeTargetGroup.__init__ = begin_with_once
sys.argv = ['moto', '--host', os.environ['BIND_HOST'], '--port', os.environ['GATEWAY_PORT']]
runpy.run_module('moto.server', run_name='__main__')
";

/// The account of everything in the lab, which ministack gives by itself.
const ACCOUNT_ID: &str = "000000000000";

/// The environment variable that leads functions to another emulator for load balancers alone.
pub const LOAD_BALANCING_ENDPOINT: &str = "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2";

/// What emulates AWS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Program {
    /// All of AWS that a cutover needs. Its load balancers keep no weights of target groups.
    #[default]
    Ministack,
    /// Load balancers whose rules keep weights. Every registered target is healthy.
    Moto,
}

impl Program {
    /// What Python is given to run.
    fn launcher(self) -> String {
        let run = match self {
            Self::Ministack => MINISTACK,
            Self::Moto => MOTO,
        };
        format!("{WATCH}{run}")
    }

    /// The path that answers once it is ready.
    const fn health(self) -> &'static str {
        match self {
            Self::Ministack => "_ministack/health",
            Self::Moto => "moto-api/",
        }
    }
}

/// What of the caller's environment the emulator, and so the functions, may see. Nothing that
/// begins with `AWS_`: it could lead a function to a real account.
const INHERITED: [&str; 4] = ["PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// How to start an emulator.
#[derive(Debug, Clone, Default)]
pub struct EmulatorOptions {
    /// What to start.
    pub program: Program,
    /// The port to listen on; a free one when not given.
    pub port: Option<u16>,
    /// Where the functions find AWS; the emulator itself when not given.
    pub lambda_endpoint: Option<String>,
    /// More environment variables of the emulator, which the functions inherit.
    pub env: Vec<(String, String)>,
    /// File for the emulator's output; `target/lab/emulator-<port>.log` when not given.
    pub log: Option<PathBuf>,
}

/// A running emulator. It ends, with all its Lambda processes, when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    program: Program,
    port: u16,
    log: PathBuf,
    /// Unpacked functions and the emulator's own files, away from those of other emulators.
    dir: PathBuf,
    child: Child,
    /// Closes with this program, and so ends the emulator.
    _alive: ChildStdin,
}

impl Emulator {
    /// Starts an emulator and waits until it answers.
    ///
    /// # Errors
    /// `PortInUse` for a port that was asked for; `Emulator` with the end of the log when it does
    /// not come up; `Io` when it cannot be started.
    pub async fn start(venv: &Venv, options: EmulatorOptions) -> Result<Self, LabError> {
        let mut tries = PORT_TRIES;
        loop {
            let port = port_of(&reserve(options.port.unwrap_or(0))?)?;
            let mut emulator = Self::spawn(venv, port, &options)?;
            match emulator.ready().await {
                Ok(()) => return Ok(emulator),
                Err(LabError::PortInUse { .. }) if options.port.is_none() && tries > 1 => {
                    tries -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts an emulator whose functions reach it through a proxy, which can count and disturb
    /// their calls.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub async fn start_behind_proxy(
        venv: &Venv,
        mut options: EmulatorOptions,
    ) -> Result<(Self, Proxy), LabError> {
        let asked = options.port;
        let mut tries = PORT_TRIES;
        loop {
            // Held until the proxy has a port of its own, so that it cannot get this one.
            let reserved = reserve(asked.unwrap_or(0))?;
            let port = port_of(&reserved)?;
            let proxy = Proxy::start(&url(port))?;
            drop(reserved);
            options.port = Some(port);
            options.lambda_endpoint = Some(proxy.endpoint().to_owned());
            match Self::start(venv, options.clone()).await {
                Ok(emulator) => return Ok((emulator, proxy)),
                // Somebody else took it in between.
                Err(LabError::PortInUse { .. }) if asked.is_none() && tries > 1 => tries -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The URL that serves all that it emulates.
    #[must_use]
    pub fn endpoint(&self) -> String {
        url(self.port)
    }

    /// The file with the emulator's output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Ends the emulator and its Lambda processes: asks first, and kills what is left.
    ///
    /// # Errors
    /// `Io` when a process cannot be signalled.
    pub async fn stop(mut self) -> Result<(), LabError> {
        let cannot = |error| LabError::io("stop the emulator", error);
        self.signal(Signal::TERM).map_err(cannot)?;
        let deadline = Instant::now() + STOP_MAX;
        while self.ended().map_err(cannot)?.is_none() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.signal(Signal::KILL).map_err(cannot)
    }

    fn spawn(venv: &Venv, port: u16, options: &EmulatorOptions) -> Result<Self, LabError> {
        let cannot = |error| LabError::io("start the emulator", error);
        let lab = venv.target_dir().join("lab");
        let dir = lab.join(format!("emulator-{port}"));
        fs::create_dir_all(&dir).map_err(cannot)?;
        let log = options.log.clone().unwrap_or_else(|| dir.with_extension("log"));
        let output = File::create(&log).map_err(cannot)?;

        let endpoint = options.lambda_endpoint.clone().unwrap_or_else(|| url(port));
        let mut child = Command::new(venv.python())
            .args(["-c", &options.program.launcher()])
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("HOME", &dir)
            .env("TMPDIR", &dir)
            .env("S3_DATA_DIR", &dir)
            .env("PYTHONUNBUFFERED", "1")
            .env("PERSIST_STATE", "0")
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MOTO_ACCOUNT_ID", ACCOUNT_ID)
            .env("AWS_ENDPOINT_URL", endpoint)
            .envs(options.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(cannot)?)
            .stderr(output)
            // Its own group: one signal then reaches its Lambda processes too, and a Ctrl-C in the
            // terminal reaches only the lab, which decides what happens.
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let alive = child.stdin.take().ok_or_else(|| cannot(ErrorKind::BrokenPipe.into()))?;
        Ok(Self { program: options.program, port, log, dir, child, _alive: alive })
    }

    async fn ready(&mut self) -> Result<(), LabError> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let health = format!("{}/{}", self.endpoint(), self.program.health());
        let health: hyper::Uri =
            health.parse().map_err(|error| LabError::aws("ask the emulator", error))?;
        let deadline = Instant::now() + READY_MAX;
        loop {
            let answer = tokio::time::timeout(ANSWER_MAX, client.get(health.clone())).await;
            // In this order: an answer counts only if it cannot be that of another program which
            // has taken the port, and made the emulator end.
            if let Some(status) =
                self.ended().map_err(|error| LabError::io("start the emulator", error))?
            {
                return Err(self.died(status));
            }
            if matches!(answer, Ok(Ok(answer)) if answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = READY_MAX.as_secs();
                return Err(self.failed(format!("did not answer within {seconds} s")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn died(&self, status: ExitStatus) -> LabError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if log.contains("already in use") {
            return LabError::PortInUse { port: self.port };
        }
        self.failed(format!("ended before it was ready ({status})"))
    }

    fn failed(&self, what: String) -> LabError {
        LabError::Emulator { what, log: self.log.clone(), tail: tail_of(&self.log) }
    }

    fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Signals the emulator and its Lambda processes; it is no error when they have ended.
    fn signal(&self, signal: Signal) -> std::io::Result<()> {
        match kill_process_group(Pid::from_child(&self.child), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Nothing to tell anybody here; closing the pipe is the second way to the same end.
        drop(self.signal(Signal::KILL));
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Takes a port of 127.0.0.1; 0 stands for any free one.
fn reserve(port: u16) -> Result<TcpListener, LabError> {
    TcpListener::bind(("127.0.0.1", port)).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => LabError::PortInUse { port },
        _ => LabError::io(format!("listen on port {port} of 127.0.0.1"), error),
    })
}

fn port_of(listener: &TcpListener) -> Result<u16, LabError> {
    let address = listener.local_addr();
    Ok(address.map_err(|error| LabError::io("listen on 127.0.0.1", error))?.port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
