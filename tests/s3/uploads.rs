//! How the tests upload in parts.

use crate::kit::Site;

/// Begins an upload without a checksum and returns its id.
pub async fn begin(site: &Site, key: &str) -> String {
    let answer = site.object("POST", key).query("uploads", "").send().await.expect(200);
    answer.xml("UploadId")
}

/// Uploads a part and returns its ETag with quotes.
pub async fn part(site: &Site, key: &str, upload: &str, number: u32, body: &[u8]) -> String {
    let request = site.object("PUT", key).query("partNumber", &number.to_string()).query("uploadId", upload);
    request.body(body).send().await.expect(200).header("etag").to_owned()
}

/// The body of a completion.
pub fn completion(parts: &[(u32, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            let etag = etag.trim_matches('"');
            format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
        })
        .collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

/// Uploads an object in parts of these numbers. Returns its ETag with quotes.
pub async fn upload(site: &Site, key: &str, numbers: &[u32], parts: &[Vec<u8>]) -> String {
    let upload = begin(site, key).await;
    let mut done = Vec::new();
    for (number, body) in numbers.iter().zip(parts) {
        done.push((*number, part(site, key, &upload, *number, body).await));
    }
    let done: Vec<_> = done.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
    let complete = site.object("POST", key).query("uploadId", &upload).body(completion(&done));
    complete.send().await.expect(200).xml("ETag")
}
