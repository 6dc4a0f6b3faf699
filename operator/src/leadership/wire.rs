//! The connections of a term, on which nothing is written once it has ended.
//!
//! Whether the term holds is asked right before bytes go to the socket: a request may have been handed on long before, when the process
//! is stopped between.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
};
use tokio::net::TcpStream;
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneService};

use super::term::{Ended, Term};

/// How long a connection is kept for the next write. Of those that have died silently meanwhile each costs one that is not answered.
const IDLE: Duration = Duration::from_secs(10);

/// A client whose connections are the term's own. It takes no way through a proxy: what it is for is inside the cluster.
pub fn client(config: &Config, term: &Term) -> Result<Client, kube::Error> {
    let mut plain = plain();
    plain.set_connect_timeout(config.connect_timeout);
    let term = term.clone();
    let guarded = ServiceExt::<Uri>::map_response(plain, move |stream| Guarded {
        stream,
        term: term.clone(),
    });
    let secure = config.rustls_https_connector_with_connector(guarded)?;
    let connections: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(secure);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// What makes connections of the term's own to plugins. TLS is on top of them.
pub fn connector(term: &Term) -> BoxCloneService<Uri, Guarded<TokioIo<TcpStream>>, BoxError> {
    let term = term.clone();
    let guarded = ServiceExt::<Uri>::map_response(plain(), move |stream| Guarded {
        stream,
        term: term.clone(),
    });
    guarded.map_err(BoxError::from).boxed_clone()
}

fn plain() -> HttpConnector {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain
}

/// A connection on which is written only while the term holds.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    term: Term,
}

impl<S> Guarded<S> {
    fn holds(&self) -> io::Result<()> {
        if self.term.holds() {
            Ok(())
        } else {
            Err(io::Error::other(Ended))
        }
    }
}

impl<S: Read + Unpin> Read for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.holds()?;
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.holds()?;
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: Connection> Connection for Guarded<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{Patch, PatchParams},
    };
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::{Instant, timeout},
    };

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn no_byte_of_a_write_leaves_after_the_end_though_the_connection_stands() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let term = Term::until(Instant::now() + HOUR);
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let api: Api<ConfigMap> = Api::default_namespaced(client(&config, &term).unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 4096];
            let read = stream.read(&mut first).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"metadata\": {\"name\": \"a\"}}";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            // It ends with the connection.
            let _ = stream.read_to_end(&mut rest).await;
            (read, rest)
        });
        let write = async || {
            let patch = Patch::Merge(json!({}));
            api.patch("a", &PatchParams::default(), &patch).await
        };
        write().await.unwrap();
        term.close();
        let refused = timeout(LIMIT, write()).await.unwrap().unwrap_err();
        let (first, rest) = timeout(LIMIT, server).await.unwrap().unwrap();
        assert!(first > 0 && rest.is_empty(), "{refused:?}: {} bytes", rest.len());
    }
}
