//! A bucket mounted with rclone or s3fs, taken off again whatever happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::{Daemon, Invocation, free_port};
use crate::support::{poll, workdir};
use crate::visit::{Visit, installed, rclone};

/// For whatever a mounter does by itself.
const SOON: Duration = Duration::from_secs(60);

/// A mounted folder.
pub struct Mount<'a> {
    /// Where it is.
    pub path: PathBuf,
    visit: &'a Visit,
    daemon: Daemon,
    /// rclone's remote control.
    control: Option<(&'static str, String)>,
}

impl<'a> Mount<'a> {
    /// `rclone mount` of the visit's bucket with a write cache, as CSI-S3
    /// does it.
    pub fn rclone(visit: &'a Visit, program: &'static str) -> Self {
        let path = visit.work.folder("mount");
        let control = format!("127.0.0.1:{}", free_port());
        let call = rclone(visit, program)
            .args(["mount", &format!("cairn:{}", visit.bucket)])
            .arg(&path)
            .args(["--vfs-cache-mode", "writes", "--vfs-write-back", "1s", "--cache-dir"])
            .arg(visit.work.join("cache"))
            .args(["--rc", "--rc-no-auth", "--rc-addr", &control]);
        Self::start(visit, path, call, Some((program, control)))
    }

    /// `s3fs` on the visit's bucket.
    pub fn s3fs(visit: &'a Visit) -> Self {
        let path = visit.work.folder("mount");
        let access = visit.access();
        let call = visit
            .call("s3fs")
            .args([visit.bucket.as_str(), path.to_str().expect("UTF-8"), "-f", "-o"])
            .arg(format!("url={}", access.endpoint))
            .args(["-o", "use_path_request_style", "-o", &format!("endpoint={}", access.region)])
            .env("AWSACCESSKEYID", &access.key)
            .env("AWSSECRETACCESSKEY", &access.secret);
        Self::start(visit, path, call, None)
    }

    /// rclone with the flags that a CSI driver gives it and those that the storage
    /// class adds. In the foreground, so that the test can end it.
    pub fn by_csi_driver(visit: &'a Visit, program: &'static str, options: &[&str]) -> Self {
        let path = visit.work.folder("mount");
        let access = visit.access();
        let call = visit
            .call(program)
            .args(["mount", &format!(":s3:{}", visit.bucket)])
            .arg(&path)
            .args(["--s3-provider=AWS", "--s3-env-auth=true", "--vfs-cache-mode=writes"])
            .args([format!("--s3-region={}", access.region), format!("--s3-endpoint={}", access.endpoint)])
            // Others than root may not ask for this without more ado.
            .args(rustix::process::getuid().is_root().then_some("--allow-other"))
            .args(options)
            .env("RCLONE_CONFIG", "/dev/null")
            .env("RCLONE_CACHE_DIR", visit.work.join("cache"));
        Self::start(visit, path, call, None)
    }

    /// `s3fs` as a CSI driver calls it, in the foreground.
    pub fn s3fs_by_csi_driver(visit: &'a Visit) -> Self {
        let path = visit.work.folder("mount");
        let access = visit.access();
        let call = visit
            .call("s3fs")
            .args([format!("{}:/", visit.bucket).as_str(), path.to_str().expect("UTF-8"), "-f"])
            .args(["-o", "use_path_request_style", "-o", "mp_umask=000"])
            .args(["-o".to_owned(), format!("url={}", access.endpoint)])
            .args(["-o".to_owned(), format!("endpoint={}", access.region)])
            .args(rustix::process::getuid().is_root().then_some("-oallow_other"))
            .env("AWSACCESSKEYID", &access.key)
            .env("AWSSECRETACCESSKEY", &access.secret);
        Self::start(visit, path, call, None)
    }

    fn start(visit: &'a Visit, path: PathBuf, call: Invocation, control: Option<(&'static str, String)>) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing: mounting needs FUSE in the kernel");
        let mut daemon = call.start(&visit.work.join("mount.log"));
        daemon.wait_until("mount", SOON, || is_mounted(&path).then_some(()));
        Self { path, visit, daemon, control }
    }

    /// The path of `name` inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Wait until everything that was written is in the bucket, then unmount.
    /// (Unmounting alone leaves files in rclone's cache.)
    pub fn unmount(self) {
        self.flush();
        self.unmount_at_once();
    }

    /// Unmount it as a kubelet does when the pod has ended: without a thought of
    /// uploads, and again while it is busy: a child of a test beside this one that is
    /// just being started has a copy of what this one has closed.
    pub fn unmount_at_once(mut self) {
        let unmount = || self.visit.call("fusermount3").arg("-u").arg(&self.path).outcome();
        let unmounted = poll(SOON, Duration::from_millis(100), || unmount().status.success().then_some(()));
        assert!(unmounted.is_some(), "it cannot be unmounted: {}", unmount().story());
        let ended = poll(SOON, Duration::from_millis(20), || self.daemon.has_ended().then_some(()));
        assert!(ended.is_some(), "still running after it was unmounted: {}", self.daemon.story());
    }

    /// Kill what serves it, as when the driver's pod or the machine goes.
    pub fn kill(mut self) {
        self.daemon.stop(Signal::KILL, SOON).expect("nothing survives that");
    }

    /// Wait until rclone has nothing left to upload, three times in a row: it hears a
    /// moment later of what was closed.
    pub fn flush(&self) {
        let Some((program, address)) = &self.control else { return };
        let mut idle = 0;
        let flushed = poll(Duration::from_secs(120), Duration::from_millis(200), || {
            let text = rclone(self.visit, program)
                .args(["rc", "--url", &format!("http://{address}"), "vfs/stats"])
                .run()
                .text();
            let stats: serde_json::Value = serde_json::from_str(&text).expect("rclone rc prints JSON");
            let left =
                |name: &str| stats["diskCache"][name].as_u64().expect("a mount with a write cache counts uploads");
            idle = if left("uploadsQueued") + left("uploadsInProgress") == 0 { idle + 1 } else { 0 };
            (idle == 3).then_some(())
        });
        assert!(flushed.is_some(), "uploads do not end: {}", self.daemon.story());
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        if is_mounted(&self.path) {
            let _ = std::process::Command::new(installed("fusermount3")).arg("-uz").arg(&self.path).output();
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    workdir::mounts_below(path).iter().any(|mount| mount == path)
}
