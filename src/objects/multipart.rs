//! Multipart uploads.

use super::lists::part_info;
use super::pack::Owner;
use super::receive::Content;
use super::service::{info, stored};
use super::{
    Address, CompleteUpload, CompletedPart, CreateUpload, Incoming, ObjectError, Objects, PartAddress, PartInfo, Stored,
};
use crate::digest::{
    Algorithm, Checksum, ChecksumKind, StoredChecksum, composite, etag, full_object, md5_of_etag, multipart_etag,
};
use crate::metadata::{
    AbortUpload, CommitPart, CompleteObject, CreateMultipart, FindUpload, ListParts, NewBody, NewObject, NewPart,
    ObjectContent, PartRecord, PartRow, Refusal, Span, UploadRow,
};
use crate::types::limits::{OBJECT_BYTES_MAX, PART_BYTES_MIN, PART_NUMBER_MAX, PUT_BYTES_MAX, SPANS_MAX};
use crate::types::{StreamId, UploadId};

type Result<T> = std::result::Result<T, ObjectError>;

/// How often a completion begins anew when its parts change under it.
const ATTEMPTS: usize = 5;

fn find_upload(address: &Address, upload: UploadId) -> FindUpload {
    FindUpload { bucket: address.bucket.clone(), key: address.key.clone(), upload }
}

impl Objects {
    /// Begins an upload.
    pub async fn create_upload(&self, create: CreateUpload) -> Result<UploadId> {
        let now = self.env.now();
        let upload = self.new_upload_id(now.0);
        let Address { bucket, key } = create.address;
        let (headers, checksum) = (create.headers, create.checksum);
        self.metadata.write(CreateMultipart { bucket, key, upload, headers, checksum, now }).await??;
        Ok(upload)
    }

    /// Random, but led by the time, so that a key's uploads list by age.
    fn new_upload_id(&self, now_ms: i64) -> UploadId {
        let mut bytes: [u8; 16] = self.env.random();
        bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        UploadId::from_bytes(bytes)
    }

    /// Writes a part. It is durable when this returns.
    pub async fn put_part(&self, address: PartAddress, mut body: Incoming) -> Result<PartInfo> {
        let upload = self.metadata.read(find_upload(&address.address, address.upload)).await??;
        check_algorithm(&upload, &mut body)?;
        let received = self.receive(body, PUT_BYTES_MAX).await?;
        let row = PartRow {
            number: address.number,
            size_bytes: received.size_bytes,
            modified: self.env.now(),
            etag: etag(&received.digests.md5),
            checksum: received.digests.checksums.first().cloned(),
            spans: Vec::new(),
        };
        let info = part_info(row.clone());
        let Address { bucket, key } = address.address;
        let part = |stream: Option<StreamId>| {
            let spans = stream.map(|stream| Span { stream, offset: 0, length: row.size_bytes }).into_iter().collect();
            NewPart { bucket, key, upload: address.upload, row: PartRow { spans, ..row } }
        };
        let alone = |part, stream| CommitPart { part, stream, segments: Vec::new(), lease: None };
        match received.content {
            Content::Empty => self.metadata.write(alone(part(None), None)).await??,
            Content::Inline(inline) => {
                let part = part(Some(inline.stream));
                let stream = inline_row(inline, &part.row, received.digests.md5);
                self.metadata.write(alone(part, Some(stream))).await??;
            }
            Content::Small(small) => {
                let part = part(Some(small.stream.stream));
                self.packer.commit(small, Owner::Part(Box::new(alone(part, None)))).await??;
            }
            Content::Stored(stream) => {
                let (stream, segments, guard) = stream.into_parts();
                let part = part(Some(stream.stream));
                let (stream, lease) = (Some(stream), Some(guard.lease()));
                let commit = CommitPart { part, stream, segments: segments.clone(), lease };
                self.commit_segments(commit, segments, guard).await?;
            }
        }
        Ok(info)
    }

    /// Gives an upload and its parts up.
    pub async fn abort_upload(&self, address: &Address, upload: UploadId) -> Result<()> {
        Ok(self.metadata.write(AbortUpload { upload: find_upload(address, upload) }).await??)
    }

    /// Makes an object of an upload's parts. No data is moved.
    pub async fn complete_upload(&self, complete: CompleteUpload) -> Result<Stored> {
        for _ in 0..ATTEMPTS {
            let all =
                ListParts { upload: find_upload(&complete.address, complete.upload), after: 0, limit: PART_NUMBER_MAX };
            let (upload, uploaded) = match self.metadata.read(all).await? {
                Err(Refusal::NoSuchUpload) => return self.completed_before(&complete).await,
                found => found?,
            };
            let parts = choose_parts(&complete, uploaded)?;
            let object = self.assemble(&complete, upload, &parts)?;
            let stored = stored(&object);
            let parts = parts.into_iter().map(|part| (part.number, part.spans)).collect();
            match self.metadata.write(CompleteObject { object, upload: complete.upload, parts }).await? {
                Err(Refusal::Changed) => continue,
                Err(Refusal::NoSuchUpload) => return self.completed_before(&complete).await,
                outcome => return Ok(outcome.map(|()| stored)?),
            }
        }
        Err(ObjectError::Conflict)
    }

    /// A client that did not hear the answer completes again: the object of
    /// this very upload is still there.
    async fn completed_before(&self, complete: &CompleteUpload) -> Result<Stored> {
        let found = match self.find(&complete.address, false).await {
            Ok(found) if found.current.upload == Some(complete.upload) => info(&found.current),
            Ok(_) | Err(ObjectError::NoSuchKey) => return Err(ObjectError::NoSuchUpload),
            Err(error) => return Err(error),
        };
        let (etag, modified) = (found.etag, found.modified);
        Ok(Stored { etag, modified, size_bytes: found.size_bytes, checksum: found.checksum })
    }

    fn assemble(&self, complete: &CompleteUpload, upload: UploadRow, parts: &[PartRow]) -> Result<NewObject> {
        let size_bytes = parts.iter().map(|part| part.size_bytes).sum();
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(ObjectError::TooLarge { size_bytes, max_bytes: OBJECT_BYTES_MAX });
        }
        if let Some(declared) = complete.size_bytes.filter(|declared| *declared != size_bytes) {
            let sentence = format!("x-amz-mp-object-size declares {declared} bytes; the parts have {size_bytes}");
            return Err(ObjectError::InvalidRequest(sentence));
        }
        let spans: Vec<Span> = parts.iter().flat_map(|part| part.spans.iter().copied()).collect();
        if spans.len() > SPANS_MAX {
            let sentence = format!("the parts are copies of {} pieces; at most {SPANS_MAX} are possible", spans.len());
            return Err(ObjectError::InvalidRequest(sentence));
        }
        let checksum = object_checksum(complete, &upload, parts)?;
        let md5s: Option<Vec<[u8; 16]>> = parts.iter().map(|part| md5_of_etag(&part.etag)).collect();
        let md5s = md5s.ok_or_else(|| ObjectError::Internal("a part's ETag is not an MD5".into()))?;
        let records = parts.iter().map(record).collect();
        let body = NewBody { body: self.new_body_id(), spans, parts: Some(records) };
        Ok(NewObject {
            bucket: complete.address.bucket.clone(),
            key: complete.address.key.clone(),
            condition: complete.condition.clone(),
            headers: upload.headers,
            size_bytes,
            etag: multipart_etag(&md5s),
            checksum,
            modified: self.env.now(),
            content: ObjectContent::Body(body),
        })
    }
}

/// Has the part hashed as the upload wants it.
fn check_algorithm(upload: &UploadRow, body: &mut Incoming) -> Result<()> {
    let Some((wanted, _)) = upload.checksum else { return Ok(()) };
    let declared = match &body.checksum {
        Some(checksum) => Some(checksum.algorithm),
        None if body.trailing.is_some() => body.algorithm,
        None => None,
    };
    match declared {
        Some(declared) if declared != wanted => Err(ObjectError::InvalidRequest(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name().to_lowercase(),
            declared.name().to_lowercase()
        ))),
        _ => {
            body.algorithm = Some(wanted);
            Ok(())
        }
    }
}

fn inline_row(inline: crate::metadata::InlineStream, part: &PartRow, md5: [u8; 16]) -> crate::metadata::NewStream {
    crate::metadata::NewStream {
        stream: inline.stream,
        size_bytes: part.size_bytes,
        key_version: inline.key_version,
        wrapped_key: inline.wrapped_key.to_vec(),
        md5,
        checksum: part.checksum.clone(),
        content: crate::metadata::StreamContent::Inline(inline.sealed),
    }
}

/// The uploaded parts that a completion names, checked against what it says
/// of them.
fn choose_parts(complete: &CompleteUpload, uploaded: Vec<PartRow>) -> Result<Vec<PartRow>> {
    if complete.parts.is_empty() {
        return Err(ObjectError::InvalidRequest("You must specify at least one part".into()));
    }
    if !complete.parts.is_sorted_by(|one, next| one.number < next.number) {
        return Err(ObjectError::InvalidPartOrder);
    }
    let mut uploaded = uploaded.into_iter().peekable();
    let mut chosen = Vec::with_capacity(complete.parts.len());
    for named in &complete.parts {
        while uploaded.next_if(|part| part.number < named.number).is_some() {}
        let part = uploaded.next_if(|part| part.number == named.number);
        chosen.push(check_part(named, part)?);
    }
    let all_but_last = &chosen[..chosen.len() - 1];
    match all_but_last.iter().find(|part| part.size_bytes < PART_BYTES_MIN) {
        Some(small) => Err(ObjectError::PartTooSmall {
            number: small.number,
            size_bytes: small.size_bytes,
            etag: small.etag.clone(),
        }),
        None => Ok(chosen),
    }
}

fn check_part(named: &CompletedPart, part: Option<PartRow>) -> Result<PartRow> {
    let number = named.number;
    let invalid = |reason| ObjectError::InvalidPart { number, reason };
    let part = part.ok_or_else(|| invalid("it was not uploaded"))?;
    if part.etag != named.etag {
        return Err(invalid("its ETag differs from the one that was uploaded"));
    }
    match &named.checksum {
        Some(named) if part.checksum.as_ref() != Some(named) => {
            Err(invalid("its checksum differs from the one that was uploaded"))
        }
        _ => Ok(part),
    }
}

fn record(part: &PartRow) -> PartRecord {
    PartRecord {
        number: part.number,
        size_bytes: part.size_bytes,
        etag: part.etag.clone(),
        checksum: part.checksum.clone(),
    }
}

/// The object's checksum out of its parts', compared with the declared one.
/// Where the upload declared none, it is a CRC64NVME if all parts have one.
fn object_checksum(complete: &CompleteUpload, upload: &UploadRow, parts: &[PartRow]) -> Result<Option<StoredChecksum>> {
    let declared = upload.checksum.is_some();
    let (algorithm, kind) = upload.checksum.unwrap_or((Algorithm::Crc64Nvme, ChecksumKind::FullObject));
    if let Some(other) = complete.checksum_kind.filter(|other| *other != kind && declared) {
        let sentence = format!("the upload has the checksum type {}, not {}", kind.name(), other.name());
        return Err(ObjectError::InvalidRequest(sentence));
    }
    let values: Option<Vec<(Checksum, u64)>> = parts
        .iter()
        .map(|part| Some((part.checksum.clone().filter(|known| known.algorithm == algorithm)?, part.size_bytes)))
        .collect();
    let Some(values) = values else { return Ok(None) };
    let count = parts.len() as u32;
    let stored = match kind {
        ChecksumKind::Composite => {
            let values: Vec<Checksum> = values.into_iter().map(|(checksum, _)| checksum).collect();
            composite(algorithm, &values).map(|checksum| StoredChecksum { checksum, kind, parts: Some(count) })
        }
        ChecksumKind::FullObject => {
            full_object(algorithm, &values).map(|checksum| StoredChecksum { checksum, kind, parts: None })
        }
    };
    match (&complete.checksum, &stored) {
        (Some(wanted), Some(stored)) if *wanted != stored.checksum => Err(ObjectError::BadChecksum(algorithm.name())),
        _ => Ok(stored),
    }
}
