//! Frames on a stream, and what they need of the TLS connection under them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::{FRAME_HEADER_BYTES, WireError, encode_frame, frame_length};

/// Why a frame did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads one frame's JSON and nothing that follows it.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, FrameError> {
    let mut header = [0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let mut json = vec![0; frame_length(&header)?];
    stream.read_exact(&mut json).await?;
    Ok(json)
}

/// Writes one frame and flushes.
pub(super) async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), json: &[u8]) -> Result<(), FrameError> {
    stream.write_all(&encode_frame(json)?).await?;
    Ok(stream.flush().await?)
}
