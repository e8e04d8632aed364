//! Probes against servers of our own on loopback: what a user's client would see.

use std::sync::Arc;

use adapters::probe::{At, Prober};
use cutover_core::{Answered, Probe, RouteId};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const HOST: &str = "shop.example.com";

/// Answers one request with this status, if it is asked as a user would ask.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole request"));
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("get /healthz?full http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {HOST}\r\n")), "{head}");
    let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
    stream.write_all(reply.as_bytes()).await.expect("sent");
    stream.shutdown().await.expect("closed");
}

/// A server whose certificate has this name, and the certificate.
async fn serve(name: &str, status: &'static str) -> (At, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("made");
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust it goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, status).await;
            }
        }
    });
    (At { server: "127.0.0.1".to_owned(), port, tls: true }, certificate)
}

fn trusting(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Prober {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Prober::with_roots(roots).expect("set up")
}

async fn ask(prober: &Prober, at: &At) -> Answered {
    let probe = Probe { path: "/healthz?full".to_owned(), count: 3 };
    prober.ask(&probe, at, &RouteId::from(HOST)).await
}

#[tokio::test]
async fn a_probe_gives_the_status_of_each_answer() {
    for (status, number) in [("200 OK", 200), ("404 Not Found", 404), ("302 Found", 302)] {
        let (at, certificate) = serve(HOST, status).await;
        let Answered::Statuses(answers) = ask(&trusting([certificate]), &at).await else {
            panic!("not answered")
        };
        assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [number; 3]);
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_of_nobody_known_is_no_answer() {
    let (at, certificate) = serve("else.example.com", "200 OK").await;
    let Answered::Badly(why) = ask(&trusting([certificate]), &at).await else { panic!("trusted") };
    assert!(why.contains("not valid for name"), "{why}");
    let (at, _) = serve(HOST, "200 OK").await;
    let (_, of_another) = serve(HOST, "200 OK").await;
    let said = ask(&trusting([of_another]), &at).await;
    assert!(matches!(&said, Answered::Badly(_)), "{said:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_from_one_that_breaks_off() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let at = At { server: "127.0.0.1".to_owned(), port, tls: false };
    let prober = trusting([]);
    let broken = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        drop(stream);
    };
    let (said, ()) = tokio::join!(ask(&prober, &at), broken);
    assert!(matches!(&said, Answered::Badly(_)), "{said:?}");
    drop(listener);
    let said = ask(&prober, &at).await;
    assert!(matches!(&said, Answered::OutOfReach(_)), "{said:?}");
}
