//! What the store is compared with: a file per piece, written, synced, renamed
//! into place and its folder synced; and one long sequential write.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::meter::Figure;
use crate::{Load, RANGE_BYTES, TOGETHER, metered};

/// Writes one file with one fdatasync at its end, and reads it from the disk.
pub fn sequential(dir: &Path, bytes: u64) -> Vec<Figure> {
    let path = dir.join("sequential");
    let mut buffer = noise(4 << 20);
    let writes = bytes as usize / buffer.len();
    warm(dir, bytes);
    let write = metered(writes, bytes, || {
        let mut file = File::create(&path).unwrap();
        (0..writes).for_each(|_| file.write_all(&buffer).unwrap());
        file.sync_data().unwrap();
    });
    forget(&path);
    let read = metered(writes, bytes, || {
        let mut file = File::open(&path).unwrap();
        (0..writes).for_each(|_| file.read_exact(&mut buffer).unwrap());
    });
    std::fs::remove_file(&path).unwrap();
    vec![write, read]
}

/// Writes as many bytes and deletes them, so that everybody's writes go to
/// memory that was used a moment ago: in a virtual machine the first use of a
/// page costs more than writing it, and whoever came first would pay.
pub fn warm(dir: &Path, bytes: u64) {
    let path = dir.join("warm");
    let mut file = File::create(&path).unwrap();
    let buffer = noise(4 << 20);
    (0..bytes.div_ceil(4 << 20)).for_each(|_| file.write_all(&buffer).unwrap());
    file.sync_all().unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// The same rows as the store's, without compaction.
pub fn measure(dir: &Path, load: &Load) -> Vec<Figure> {
    let dir = dir.join("files");
    let (live, trash) = (dir.join("live"), dir.join("trash"));
    std::fs::create_dir_all(&live).unwrap();
    std::fs::create_dir_all(&trash).unwrap();
    let body = noise(load.piece_bytes);
    let piece = load.piece_bytes as u64;
    let all = load.together;
    let path = |number: usize| live.join(format!("{number:032x}"));
    let put = |number: usize| {
        let temporary = live.join(format!("{number:032x}.new"));
        let mut file = File::create(&temporary).unwrap();
        file.write_all(&body).unwrap();
        file.sync_all().unwrap();
        std::fs::rename(&temporary, path(number)).unwrap();
        sync_folder(&live);
    };
    let get = |number: usize, bytes: u64| {
        use std::os::unix::fs::FileExt;
        let offset = if bytes == piece { 0 } else { (piece - bytes) / 2 };
        File::open(path(number)).unwrap().read_exact_at(&mut vec![0; bytes as usize], offset).unwrap();
    };
    warm(&dir, piece * load.alone as u64);
    let alone = metered(load.alone, piece * load.alone as u64, || (all..all + load.alone).for_each(put));
    (all..all + load.alone).for_each(|number| std::fs::remove_file(path(number)).unwrap());
    warm(&dir, piece * all as u64);
    let together = metered(all, piece * all as u64, || spread(TOGETHER, all, &put));
    (0..all).for_each(|number| forget(&path(number)));
    let cold = metered(all, piece * all as u64, || spread(TOGETHER, all, &|number| get(number, piece)));
    let warm = metered(all, piece * all as u64, || spread(TOGETHER, all, &|number| get(number, piece)));
    let range = RANGE_BYTES.min(piece);
    let ranged = metered(all, range * all as u64, || spread(TOGETHER, all, &|number| get(number, range)));
    // One by one, but with one fsync of the folder for all of them, as the
    // store is told of many at once.
    let deleted = metered(all, 0, || {
        (0..all).for_each(|number| std::fs::rename(path(number), trash.join(number.to_string())).unwrap());
        sync_folder(&live);
        sync_folder(&trash);
        (0..all).for_each(|number| std::fs::remove_file(trash.join(number.to_string())).unwrap());
        sync_folder(&trash);
    });
    std::fs::remove_dir_all(&dir).unwrap();
    vec![alone, together, cold, warm, ranged, deleted]
}

fn spread(threads: usize, count: usize, work: &(impl Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < count => work(number),
                        _ => return,
                    }
                }
            });
        }
    });
}

fn sync_folder(folder: &Path) {
    File::open(folder).unwrap().sync_all().unwrap();
}

/// Drops a file from the page cache.
pub fn forget(path: &Path) {
    rustix::fs::fadvise(File::open(path).unwrap(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Bytes that no disk compresses.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    noise
}
