//! Work on all cores whose results are taken one after the other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};

/// What the threads share.
struct State<T> {
    /// The next item that nobody makes yet.
    next: usize,
    /// How many items were taken.
    taken: usize,
    made: BTreeMap<usize, std::thread::Result<T>>,
    stopped: bool,
}

/// Makes the items `0..n` on all cores and gives them to `take` in their order, on the calling thread. Only a few are held at a time: one that is
/// made on each core, and two that wait. Ends with the first error in the order of the items.
pub fn in_order<T: Send, E: Send>(
    n: usize,
    make: impl Fn(usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let n_threads = rayon::current_num_threads().min(n);
    if n_threads < 2 {
        return (0..n).try_for_each(|index| take(make(index)?));
    }
    let window = n_threads + 2;
    let state = Mutex::new(State { next: 0, taken: 0, made: BTreeMap::new(), stopped: false });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = |guard| changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let mut shared = lock();
            while !shared.stopped && shared.next < n && shared.next >= shared.taken + window {
                shared = wait(shared);
            }
            let index = shared.next;
            if shared.stopped || index >= n {
                return;
            }
            shared.next += 1;
            drop(shared);
            // A panic here must not leave the taker waiting.
            let made = catch_unwind(AssertUnwindSafe(|| make(index)));
            lock().made.insert(index, made);
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        // However this ends, the threads end too.
        let _stop = Finally(|| {
            lock().stopped = true;
            changed.notify_all();
        });
        (0..n_threads).for_each(|_| drop(scope.spawn(work)));
        for index in 0..n {
            let mut shared = lock();
            let made = loop {
                match shared.made.remove(&index) {
                    Some(made) => break made,
                    None => shared = wait(shared),
                }
            };
            drop(shared);
            take(made.unwrap_or_else(|panic| resume_unwind(panic))?)?;
            lock().taken += 1;
            changed.notify_all();
        }
        Ok(())
    })
}

/// Does something when it goes out of scope.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_their_order() {
        for n in [0, 1, 2, 100] {
            let mut taken = Vec::new();
            let make = |index: usize| {
                std::thread::sleep(std::time::Duration::from_micros((index % 3 * 200) as u64));
                Ok::<_, ()>(index)
            };
            let take = |item| {
                taken.push(item);
                Ok(())
            };
            assert_eq!(in_order(n, make, take), Ok(()));
            assert!(taken.into_iter().eq(0..n));
        }
    }

    #[test]
    fn the_first_error_in_the_order_ends_the_work() {
        let mut taken = Vec::new();
        let make = |index: usize| if index == 3 || index == 5 { Err(index) } else { Ok(index) };
        let take = |item| {
            taken.push(item);
            Ok(())
        };
        assert_eq!(in_order(50, make, take), Err(3));
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(in_order(50, Ok, |item| if item == 7 { Err(item) } else { Ok(()) }), Err(7));
    }

    #[test]
    #[should_panic(expected = "item 4")]
    fn a_panic_comes_through() {
        let make = |index: usize| {
            assert!(index != 4, "item {index}");
            Ok::<_, ()>(index)
        };
        let _ = in_order(9, make, |_| Ok(()));
    }
}
