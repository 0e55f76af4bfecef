//! An encrypted connection that knows who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::identity::Identity;

/// A finished handshake. Reads and writes as any tokio stream, so an HTTP/2 server or client takes it as it is.
#[derive(Debug)]
pub struct SecureStream {
    tls: TlsStream<TcpStream>,
    identity: Option<Identity>,
    peer: SocketAddr,
}

impl SecureStream {
    pub(super) fn new(tls: TlsStream<TcpStream>, identity: Option<Identity>, peer: SocketAddr) -> Self {
        Self { tls, identity, peer }
    }

    /// Who is at the other end, by a verified certificate. None only for a newcomer that enrols, seen from the server.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The serial number of the certificate at the other end, to tell one certificate of the same bearer from the next.
    #[cfg(test)]
    pub(super) fn peer_certificate_serial(&self) -> Vec<u8> {
        let certificate = &self.tls.get_ref().1.peer_certificates().unwrap()[0];
        crate::certificate::parse(certificate).unwrap().raw_serial().to_vec()
    }

    /// The address at the other end, for logs; it identifies nobody.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
