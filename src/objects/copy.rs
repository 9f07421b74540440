//! Copies that move no data: an object shares its source's body, a part its
//! source's streams.

use super::conditions::check_source;
use super::lists::part_info;
use super::service::stored;
use super::{
    Address, Copy, CopyHeaders, CopyPart, Incoming, ObjectError, ObjectHeaders, Objects, PartInfo, ReadCondition,
    Stored,
};
use crate::digest::{Algorithm, Checksum, ChecksumKind, Digester, Digests, StoredChecksum, etag};
use crate::metadata::{
    CommitCopiedPart, CopyObject, FindStreams, FindUpload, FoundObject, NewObject, NewPart, ObjectContent, PartRow,
    Refusal, Source, Span,
};
use crate::types::limits::{PUT_BYTES_MAX, SPANS_MAX};
use futures_util::StreamExt;

type Result<T> = std::result::Result<T, ObjectError>;

/// How often a copy begins anew when its source changes under it.
const ATTEMPTS: usize = 5;

impl Objects {
    /// Copies an object: its bytes are shared, its ETag, parts and checksum kept.
    pub async fn copy(&self, copy: Copy) -> Result<Stored> {
        for _ in 0..ATTEMPTS {
            let source = self.find_source(&copy.source, &copy.source_condition).await?;
            let object = self.copied(&copy, &source).await?;
            let stored = stored(&object);
            let operation = CopyObject {
                source_bucket: copy.source.bucket.clone(),
                source_key: copy.source.key.clone(),
                source_sequence: source.current.sequence,
                object,
            };
            match self.metadata.write(operation).await? {
                Err(Refusal::Changed) => continue,
                outcome => return Ok(outcome.map(|()| stored)?),
            }
        }
        Err(ObjectError::Conflict)
    }

    async fn find_source(&self, source: &Address, condition: &ReadCondition) -> Result<FoundObject> {
        let found = self.find(source, true).await?;
        check_source(condition, &found.current.etag, found.current.modified)?;
        Ok(found)
    }

    async fn copied(&self, copy: &Copy, source: &FoundObject) -> Result<NewObject> {
        let current = &source.current;
        if current.size_bytes > PUT_BYTES_MAX {
            return Err(ObjectError::TooLarge { size_bytes: current.size_bytes, max_bytes: PUT_BYTES_MAX });
        }
        let kept = current.checksum.clone();
        let checksum = match copy.algorithm {
            Some(wanted) if kept.as_ref().is_none_or(|kept| kept.checksum.algorithm != wanted) => {
                let digests = self.hash(source.clone(), 0, current.size_bytes, wanted).await?;
                let checksum = digests.checksums.into_iter().next();
                checksum.map(|checksum| StoredChecksum { checksum, kind: ChecksumKind::FullObject, parts: None })
            }
            _ => kept,
        };
        Ok(NewObject {
            bucket: copy.destination.bucket.clone(),
            key: copy.destination.key.clone(),
            condition: copy.condition.clone(),
            headers: copied_headers(&copy.headers, &current.headers),
            size_bytes: current.size_bytes,
            etag: current.etag.clone(),
            checksum,
            modified: self.env.now(),
            content: ObjectContent::Empty,
        })
    }

    /// Reads bytes of an object for their digests alone.
    async fn hash(&self, found: FoundObject, first: u64, length: u64, algorithm: Algorithm) -> Result<Digests> {
        let mut digester = Digester::new(&[algorithm]);
        let mut content = self.content(found, first, length);
        while let Some(chunk) = content.next().await {
            digester.update(&chunk.map_err(ObjectError::of_stream)?);
        }
        Ok(digester.finish())
    }

    /// Makes a part of a range of an object. A small range is written anew; of
    /// a larger one the streams are shared.
    pub async fn copy_part(&self, copy: CopyPart) -> Result<PartInfo> {
        for _ in 0..ATTEMPTS {
            let source = self.find_source(&copy.source, &copy.source_condition).await?;
            let size_bytes = source.current.size_bytes;
            let (first, length) = match copy.range {
                None => (0, size_bytes),
                Some((first, last)) if first <= last && last < size_bytes => (first, last - first + 1),
                Some(_) => return Err(ObjectError::InvalidRange { size_bytes }),
            };
            if length > PUT_BYTES_MAX {
                return Err(ObjectError::TooLarge { size_bytes: length, max_bytes: PUT_BYTES_MAX });
            }
            let Some(spans) = shareable(&source.source, first, length, self.inline_bytes() as u64) else {
                return self.write_copy(&copy, source, first, length).await;
            };
            match self.share(&copy, &source, first, length, spans).await {
                Err(ObjectError::Conflict) => continue,
                outcome => return outcome,
            }
        }
        Err(ObjectError::Conflict)
    }

    async fn write_copy(&self, copy: &CopyPart, source: FoundObject, first: u64, length: u64) -> Result<PartInfo> {
        let stream = self.content(source, first, length);
        let body = Incoming {
            stream,
            length: Some(length),
            md5: None,
            algorithm: Some(Algorithm::Crc64Nvme),
            checksum: None,
            trailing: None,
        };
        self.put_part(copy.part.clone(), body).await
    }

    async fn share(
        &self,
        copy: &CopyPart,
        source: &FoundObject,
        first: u64,
        length: u64,
        spans: Vec<Span>,
    ) -> Result<PartInfo> {
        let address = &copy.part.address;
        let (bucket, key, upload) = (address.bucket.clone(), address.key.clone(), copy.part.upload);
        let find = FindUpload { bucket: bucket.clone(), key: key.clone(), upload };
        let wanted = self.metadata.read(find).await??.checksum.map(|(algorithm, _)| algorithm);
        let (etag, checksum) = self.part_digests(source, first, length, &spans, wanted).await?;
        let (number, modified) = (copy.part.number, self.env.now());
        let row = PartRow { number, size_bytes: length, modified, etag, checksum, spans };
        let info = part_info(row.clone());
        let part = NewPart { bucket, key, upload, row };
        self.metadata.write(CommitCopiedPart { part }).await??;
        Ok(info)
    }

    /// ETag and checksum of a shared range. One that is exactly one stream has
    /// that stream's; else the range is read if a checksum was declared; else
    /// the ETag is 16 opaque bytes that stand for these very spans.
    async fn part_digests(
        &self,
        source: &FoundObject,
        first: u64,
        length: u64,
        spans: &[Span],
        wanted: Option<Algorithm>,
    ) -> Result<(String, Option<Checksum>)> {
        if let [Span { stream, offset: 0, length }] = spans {
            let rows = self.metadata.read(FindStreams { streams: vec![*stream] }).await?;
            let row = rows.into_iter().next().ok_or(ObjectError::Conflict)?;
            let row = Some(row).filter(|row| row.size_bytes == *length);
            let fits = |checksum: &Option<Checksum>| {
                wanted.is_none_or(|wanted| checksum.as_ref().is_some_and(|known| known.algorithm == wanted))
            };
            if let Some(row) = row.filter(|row| fits(&row.checksum)) {
                return Ok((etag(&row.md5), row.checksum));
            }
        }
        if let Some(algorithm) = wanted {
            let digests = self.hash(source.clone(), first, length, algorithm).await?;
            return Ok((etag(&digests.md5), digests.checksums.into_iter().next()));
        }
        let mut digester = Digester::new(&[]);
        for span in spans {
            digester.update(span.stream.as_bytes());
            digester.update(&span.offset.to_be_bytes());
            digester.update(&span.length.to_be_bytes());
        }
        Ok((etag(&digester.finish().md5), None))
    }
}

/// The headers of a copy whose source has `source`.
fn copied_headers(wanted: &CopyHeaders, source: &ObjectHeaders) -> ObjectHeaders {
    match wanted {
        CopyHeaders::New(headers) => headers.clone(),
        CopyHeaders::Source(of_place) => {
            let kept = source.0.iter().filter(|(name, _)| !ObjectHeaders::is_of_place(name));
            ObjectHeaders(kept.chain(&of_place.0).cloned().collect())
        }
    }
}

/// The spans of a range, where they can be shared: not of what is kept in a
/// row, not of a range too small to be worth it, and not too many.
fn shareable(source: &Source, first: u64, length: u64, small: u64) -> Option<Vec<Span>> {
    match source {
        Source::Body { spans, .. } if length > small => {
            let clipped: Vec<Span> = super::content::clip(spans, first, length).into();
            (clipped.len() <= SPANS_MAX).then_some(clipped)
        }
        _ => None,
    }
}
