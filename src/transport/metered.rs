//! A TCP connection that is counted, limited, and read in large gulps.
//!
//! rustls asks its socket for 4 KiB at a time. Reading ahead into a buffer of
//! up to 256 KiB saves most of the system calls; the buffer shrinks again when
//! little comes, so that 10,000 idle connections cost little memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Activity;
use super::activity::Traffic;
use super::bandwidth::{Bandwidth, Share};
use super::tuning::BUFFER_BYTES;

const BUFFER_BYTES_MIN: usize = 4 << 10;

/// A counted TCP connection without Nagle's delay.
pub struct Metered {
    socket: TcpStream,
    activity: Arc<Activity>,
    share: Share,
    buffer: Vec<u8>,
    taken: usize,
    wanted: usize,
}

impl Metered {
    pub(super) fn new(socket: TcpStream, traffic: Arc<Traffic>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let activity = Arc::new(Activity::new(traffic));
        let share = Share::default();
        Ok(Self { socket, activity, share, buffer: Vec::new(), taken: 0, wanted: BUFFER_BYTES_MIN })
    }

    /// The same, within a limit that other connections have their share in.
    pub(super) fn limited(mut self, bandwidth: Option<Arc<Bandwidth>>) -> Self {
        self.share.bandwidth = bandwidth;
        self
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Reads what there is into the empty buffer, whose size follows what came
    /// the last time. Nothing read means that the other side has closed.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.taken = self.buffer.len();
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            // Only those that have something to read stand in the queue.
            let allowed = ready!(self.poll_turn_to_receive(cx));
            if self.buffer.capacity() != allowed {
                self.buffer = Vec::with_capacity(allowed);
            }
            self.buffer.clear();
            self.taken = 0;
            match self.socket.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                read => {
                    let read = read?;
                    if let Some(bandwidth) = &self.share.bandwidth {
                        bandwidth.received().done(&mut self.share.receiving, read);
                    }
                    self.adapt(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_turn_to_receive(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &self.share.bandwidth {
            Some(bandwidth) => bandwidth.received().poll_turn(&mut self.share.receiving, self.wanted, cx),
            None => Poll::Ready(self.wanted),
        }
    }

    /// Writes what a turn allows.
    fn poll_write_limited(
        &mut self,
        bandwidth: &Bandwidth,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (lane, turn) = (bandwidth.sent(), &mut self.share.sending);
        let allowed = ready!(lane.poll_turn(turn, bytes.len(), cx)).min(bytes.len());
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &bytes[..allowed]));
        lane.done(&mut self.share.sending, *written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }

    fn adapt(&mut self, read: usize) {
        self.activity.received(read);
        if read >= self.wanted {
            let max = self.share.bandwidth.as_ref().map_or(BUFFER_BYTES, |bandwidth| bandwidth.received().quantum());
            self.wanted = (self.wanted * 4).min(max);
        } else if read < self.wanted / 16 {
            self.wanted = (self.wanted / 2).max(BUFFER_BYTES_MIN);
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken == self.buffer.len() {
            ready!(self.poll_fill(cx))?;
        }
        let rest = &self.buffer[self.taken..];
        let count = rest.len().min(target.remaining());
        target.put_slice(&rest[..count]);
        self.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.share.bandwidth.clone() {
            Some(bandwidth) => ready!(self.poll_write_limited(&bandwidth, cx, bytes))?,
            None => ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?,
        };
        self.activity.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.share.bandwidth.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(cx, first);
        }
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?;
        self.activity.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
