//! What a request asks for.

/// S3's operations that this release acts on, by S3's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    HeadObject,
    GetObjectAttributes,
    PutObject,
    CopyObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    /// A GET of a setting that nobody can make yet (`?policy`, `?acl`, …),
    /// answered by the front itself.
    GetSetting,
}

/// What may come as a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// Nothing that is read.
    None,
    /// XML, or nothing.
    OptionalXml,
    /// XML.
    Xml,
    /// An object's or a part's bytes.
    Bytes,
}

impl Operation {
    pub(super) fn body(self) -> BodyKind {
        match self {
            Self::PutObject | Self::UploadPart => BodyKind::Bytes,
            Self::DeleteObjects | Self::CompleteMultipartUpload => BodyKind::Xml,
            Self::CreateBucket => BodyKind::OptionalXml,
            _ => BodyKind::None,
        }
    }

    /// Makes an object, or an upload that becomes one: headers are kept with it.
    pub(super) fn makes_object(self) -> bool {
        matches!(self, Self::PutObject | Self::CopyObject | Self::CreateMultipartUpload)
    }

    /// Takes bytes from another object.
    pub(super) fn copies(self) -> bool {
        matches!(self, Self::CopyObject | Self::UploadPartCopy)
    }
}
