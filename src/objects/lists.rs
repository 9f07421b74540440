//! Lists of objects, uploads and parts.

use super::{
    Address, List, ListPage, ListUploads, ListedObject, ObjectError, Objects, PartInfo, PartPage, UploadInfo,
    UploadPage,
};
use crate::metadata::{self, FindUpload, PartRow};
use crate::types::{BucketName, UploadId};

type Result<T> = std::result::Result<T, ObjectError>;

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| ObjectError::Internal("a key is not UTF-8".into()))
}

fn delimiter(given: Option<String>) -> Option<Vec<u8>> {
    given.filter(|delimiter| !delimiter.is_empty()).map(String::into_bytes)
}

pub(super) fn part_info(row: PartRow) -> PartInfo {
    PartInfo {
        number: row.number,
        size_bytes: row.size_bytes,
        etag: row.etag,
        checksum: row.checksum,
        modified: row.modified,
    }
}

impl Objects {
    /// A page of a bucket's keys, by the bytes of the key.
    pub async fn list(&self, bucket: &BucketName, list: List) -> Result<ListPage> {
        let page = metadata::ListObjects {
            bucket: bucket.clone(),
            prefix: list.prefix.into_bytes(),
            delimiter: delimiter(list.delimiter),
            after: list.after.map(String::into_bytes),
            limit: list.max_keys,
        };
        let page = self.metadata.read(page).await?.ok_or(ObjectError::NoSuchBucket)?;
        let objects = page.rows.into_iter().map(|row| ListedObject {
            key: row.key,
            size_bytes: row.size_bytes,
            etag: row.etag,
            modified: row.modified,
            checksum: row.checksum,
            storage_class: row.storage_class,
        });
        Ok(ListPage {
            objects: objects.collect(),
            common_prefixes: page.prefixes.into_iter().map(text).collect::<Result<_>>()?,
            next: page.next.map(text).transpose()?,
        })
    }

    /// A page of a bucket's uploads in progress, by key, then by age.
    pub async fn list_uploads(&self, bucket: &BucketName, list: ListUploads) -> Result<UploadPage> {
        let page = metadata::ListUploads {
            bucket: bucket.clone(),
            prefix: list.prefix.into_bytes(),
            delimiter: delimiter(list.delimiter),
            after: list.key_marker.map(|key| (key.into_bytes(), list.upload_marker)),
            limit: list.max_uploads,
        };
        let page = self.metadata.read(page).await?.ok_or(ObjectError::NoSuchBucket)?;
        let uploads = page.uploads.into_iter().map(|row| UploadInfo {
            key: row.key,
            upload: row.upload,
            initiated: row.initiated,
            checksum: row.checksum,
            storage_class: row.storage_class,
        });
        Ok(UploadPage {
            uploads: uploads.collect(),
            common_prefixes: page.prefixes.into_iter().map(text).collect::<Result<_>>()?,
            next: page.next.map(|(key, upload)| Ok::<_, ObjectError>((text(key)?, upload))).transpose()?,
        })
    }

    /// A page of an upload's parts: numbers above `after`, at most `limit`.
    pub async fn list_parts(&self, address: &Address, upload: UploadId, after: u32, limit: u32) -> Result<PartPage> {
        let upload = FindUpload { bucket: address.bucket.clone(), key: address.key.clone(), upload };
        let list = metadata::ListParts { upload, after, limit: limit.saturating_add(1) };
        let (upload, mut parts) = self.metadata.read(list).await??;
        let truncated = limit > 0 && parts.len() > limit as usize;
        parts.truncate(limit as usize);
        Ok(PartPage {
            parts: parts.into_iter().map(part_info).collect(),
            truncated,
            checksum: upload.checksum,
            storage_class: upload.headers.storage_class(),
        })
    }
}
