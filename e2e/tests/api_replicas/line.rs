//! The line between a replica and the API server, which a test can cut or make fall silent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct State {
    /// How often all connections were made to fall silent: those that are older than the last time are.
    silences: u32,
    /// Nothing goes through, and connections end at once.
    is_cut: bool,
}

/// Passes connections on to the API server.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

impl Line {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::default()));
        let told = state.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, server, told.clone()));
            }
        });
        Self { address, state, task }
    }

    /// Ends all connections, and lets none through until [`Self::mend`].
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.is_cut = true);
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.is_cut = false);
    }

    /// From now on nothing comes back on the connections that there are, though they stay open. Later ones are as ever.
    pub(crate) fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut told: watch::Receiver<State>) {
    let begun = told.borrow_and_update().silences;
    if told.borrow().is_cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let ends = async {
        let state = told.wait_for(|state| state.is_cut || state.silences > begun).await;
        state.is_ok_and(|state| !state.is_cut)
    };
    let falls_silent = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => false,
        falls_silent = ends => falls_silent,
    };
    if falls_silent {
        // Both ends stay as they are; what either says is heard by nobody.
        let (client, server) = (drain(&mut client), drain(&mut server));
        tokio::select! {
            () = async { _ = tokio::join!(client, server); } => {}
            _ = told.wait_for(|state| state.is_cut) => {}
        }
    }
}

async fn drain(end: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut bytes = vec![0; 16 * 1024];
    while end.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    let _ = end.shutdown().await;
}
