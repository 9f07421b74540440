//! AWS's SDK over plain HTTP: one connection for each request.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::support::cairn::Access;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client that never tries again: a test wants to see each answer.
#[allow(dead_code, reason = "each suite is a binary of its own and uses a part of this")]
pub fn client(access: &Access) -> Client {
    configured(access, RetryConfig::disabled())
}

/// A client that tries so many times, as those of people do.
#[allow(dead_code, reason = "each suite is a binary of its own and uses a part of this")]
pub fn patient_client(access: &Access, attempts: u32) -> Client {
    configured(access, RetryConfig::standard().with_max_attempts(attempts))
}

fn configured(access: &Access, retries: RetryConfig) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(&access.key, &access.secret, None, None, "test"))
        .region(Region::new(access.region.clone()))
        .endpoint_url(&access.endpoint)
        .force_path_style(true)
        .retry_config(retries)
        .http_client(http_client_fn(|_, _| SharedHttpConnector::new(Plain)))
        .build();
    Client::from_conf(config)
}

#[derive(Debug)]
struct Plain;

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(async move { transmit(request).await.map_err(ConnectorError::io) })
    }
}

async fn transmit(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let mut request = request.try_into_http1x()?;
    let host = request.uri().authority().ok_or("no host")?.clone();
    let stream = TcpStream::connect(host.as_str()).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    if !request.headers().contains_key("host") {
        request.headers_mut().insert("host", host.as_str().parse()?);
    }
    let path = request.uri().path_and_query().ok_or("no path")?.as_str().parse()?;
    *request.uri_mut() = path;
    let reply = sender.send_request(request).await?;
    Ok(reply.map(SdkBody::from_body_1_x).try_into()?)
}
