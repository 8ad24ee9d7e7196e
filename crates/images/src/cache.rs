//! Decoded pictures kept in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::picture::Picture;
use crate::reader::Pictures;

/// Keeps the pictures of another source once they were decoded, as long as they fit into so many bytes: small data sets are decoded in the first epoch only. What is
/// read does not depend on what is kept.
pub struct Cache<P> {
    source: P,
    kept: Vec<OnceLock<Arc<Picture>>>,
    /// Bytes.
    left: AtomicUsize,
}

impl<P: Pictures> Cache<P> {
    /// Nothing is decoded yet.
    pub fn new(source: P, budget_bytes: usize) -> Self {
        let kept = (0..source.len()).map(|_| OnceLock::new()).collect();
        Self { source, kept, left: AtomicUsize::new(budget_bytes) }
    }

    /// How many pictures are kept.
    pub fn n_kept(&self) -> usize {
        self.kept.iter().filter(|kept| kept.get().is_some()).count()
    }
}

impl<P: Pictures> Pictures for Cache<P> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn get(&self, row: usize) -> Result<Arc<Picture>, String> {
        if let Some(picture) = self.kept.get(row).and_then(OnceLock::get) {
            return Ok(Arc::clone(picture));
        }
        let picture = self.source.get(row)?;
        let n_bytes = picture.pixels().len();
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n_bytes)).is_ok();
        let kept = taken && self.kept.get(row).is_some_and(|kept| kept.set(Arc::clone(&picture)).is_ok());
        if taken && !kept {
            // Another thread was faster.
            self.left.fetch_add(n_bytes, Ordering::Relaxed);
        }
        Ok(picture)
    }
}
