//! Content-addressed objects, atomic writes, locks and the run journal.
//!
//! # On disk
//! ```text
//! <root>/
//!   objects/<ab>/<digest>/    manifest.json names every other file of the object with its size and BLAKE3
//!   keys/<ab>/<key>.json      what a finished job left under its cache key
//!   stages/<pipeline>/<stage>.json   the key fields of a stage's last finished run, for `retune why`
//!   work/<key>/               ledgers and checkpoints of a job that is not finished; survives a crash
//!   locks/<name>.lock         exists while held
//!   tmp/                      folders and files that are being written
//!   stat-cache.json           digests of input files that have not changed since
//! ```
//!
//! # What holds at any moment
//! - An object's name is the BLAKE3 of its `manifest.json`, and the manifest holds the BLAKE3 of every file. Bytes are
//!   checked when they are read; a path for memory-mapping is handed out after the file was hashed once in this process.
//! - Whatever has its final name is complete: it was written under `tmp/`, synced, then renamed. Objects and keys never
//!   change; a damaged object is replaced by the next publication of the same content.
//! - Every JSON file of ours ends with a `blake3` field over the bytes before it (see `sealed.rs`), so that a torn or
//!   flipped manifest or record is never believed. A key record that does not hold up is a miss, not an error.
//! - A lock is the operating system's and ends with its holder. A temporary whose lock can be taken belongs to nobody and
//!   may be swept.
//! - Reading neither syncs, nor walks folders, nor writes: a store on a read-only disk still answers.
//!
//! An artifact outside the store (a bundle) is the same folder with the same manifest; only its name is the user's.

mod artifact;
mod digest;
mod error;
mod journal;
mod key;
mod lock;
mod manifest;
mod sealed;
mod stat_cache;
mod store;
mod temp;
mod writer;

pub use artifact::Artifact;
pub use digest::{Digest, ParseDigestError, digest_file};
pub use error::StoreError;
pub use journal::{Flush, Journal};
pub use key::{Change, diff, key_of};
pub use lock::Lock;
pub use manifest::{FORMAT, FORMAT_VERSION, FileEntry, MANIFEST, Manifest};
pub use stat_cache::{FileDigest, StatCache};
pub use store::Store;
pub use temp::{sweep, write_atomic};
pub use writer::ArtifactWriter;
