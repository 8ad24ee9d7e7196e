//! A tensor as it lies in a file.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// The kind of a tensor's elements, named as in safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    const ALL: [Self; 10] =
        [Self::F64, Self::F32, Self::F16, Self::BF16, Self::I64, Self::I32, Self::I16, Self::I8, Self::U8, Self::Bool];

    /// The bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether its elements are floating-point numbers, of which one kind can be converted to another.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Its name in the header of a safetensors file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The bytes of a whole file.
#[derive(Debug)]
pub(crate) enum Source {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Held(bytes) => bytes,
        }
    }
}

/// The order of bytes in the numbers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

/// Where the elements of a tensor lie in its storage, counted in elements.
#[derive(Clone, Debug)]
pub(crate) struct Strided {
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl Strided {
    /// The number of elements; none where that is no number of this machine.
    pub fn n_elements(&self) -> Option<usize> {
        n_elements(&self.shape)
    }

    /// One past the last element that it reaches; none where that is no number of this machine.
    pub fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self.shape.iter().zip(&self.strides);
        steps
            .map(|(length, stride)| (length - 1).checked_mul(*stride))
            .try_fold(self.offset, |end, step| end.checked_add(step?))?
            .checked_add(1)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&length, &stride)| {
            let fits = length == 1 || stride == expected;
            expected *= length;
            fits
        })
    }
}

/// The number of elements of a shape; none where that is no number of this machine.
pub(crate) fn n_elements(shape: &[usize]) -> Option<usize> {
    // A length of nought makes a tensor empty, however long its other sides are.
    if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1, |n: usize, &length| n.checked_mul(length)) }
}

/// A tensor in a file: its kind and shape, and its values on demand.
#[derive(Clone, Debug)]
pub struct Stored {
    dtype: Dtype,
    layout: Layout,
    shape: Vec<usize>,
    source: Arc<Source>,
}

#[derive(Clone, Debug)]
enum Layout {
    /// These bytes of the file, as they are.
    Plain(Range<usize>),
    /// Elements picked from a storage, which is these bytes of the file.
    Picked { storage: Range<usize>, at: Strided, order: ByteOrder },
}

impl Stored {
    /// A tensor that is these bytes of the file. The caller has checked that they are there and as many as the shape needs.
    pub(crate) fn plain(source: &Arc<Source>, dtype: Dtype, shape: Vec<usize>, bytes: Range<usize>) -> Self {
        Self { dtype, layout: Layout::Plain(bytes), shape, source: Arc::clone(source) }
    }

    /// A tensor within a storage. The caller has checked that it does not reach beyond it, and that its number of bytes is a number.
    pub(crate) fn picked(
        source: &Arc<Source>,
        dtype: Dtype,
        storage: Range<usize>,
        order: ByteOrder,
        at: Strided,
    ) -> Self {
        let shape = at.shape.clone();
        let n_bytes = at.n_elements().unwrap_or(0) * dtype.size();
        if n_bytes == 0 {
            return Self::plain(source, dtype, shape, 0..0);
        }
        let is_little = order == ByteOrder::Little || dtype.size() == 1;
        let layout = if at.is_contiguous() && is_little {
            let start = storage.start + at.offset * dtype.size();
            Layout::Plain(start..start + n_bytes)
        } else {
            Layout::Picked { storage, at, order }
        };
        Self { dtype, layout, shape, source: Arc::clone(source) }
    }

    /// The kind of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its shape; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of its bytes: elements times their size.
    pub fn n_bytes(&self) -> usize {
        // Checked when the file was opened.
        n_elements(&self.shape).unwrap_or(0) * self.dtype.size()
    }

    /// Its values, the last axis varying fastest, as little-endian bytes: those of the file where they lie there so, or else a copy.
    ///
    /// Bytes of the file are not aligned to the size of an element.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.layout {
            Layout::Plain(range) => Cow::Borrowed(&self.source[range.clone()]),
            Layout::Picked { storage, at, order } => {
                let storage = &self.source[storage.clone()];
                Cow::Owned(match self.dtype.size() {
                    8 => gather::<8>(storage, at, *order),
                    4 => gather::<4>(storage, at, *order),
                    2 => gather::<2>(storage, at, *order),
                    _ => gather::<1>(storage, at, *order),
                })
            }
        }
    }
}

/// The elements of `SIZE` bytes in the order of their indices. There is at least one.
fn gather<const SIZE: usize>(storage: &[u8], at: &Strided, order: ByteOrder) -> Vec<u8> {
    let (elements, _) = storage.as_chunks::<SIZE>();
    let mut values = Vec::with_capacity(at.n_elements().unwrap_or(0) * SIZE);
    let (&n_inner, outer) = at.shape.split_last().unwrap_or((&1, &[]));
    let inner_stride = at.strides.last().copied().unwrap_or(0);
    let mut index = vec![0; outer.len()];
    let mut start = at.offset;
    loop {
        for i in 0..n_inner {
            let mut element = elements[start + i * inner_stride];
            if order == ByteOrder::Big {
                element.reverse();
            }
            values.extend_from_slice(&element);
        }
        // The next index, like an odometer: the last axis that has not come to its end goes on, those after it start again.
        let Some(axis) = (0..outer.len()).rev().find(|&axis| index[axis] + 1 < outer[axis]) else {
            return values;
        };
        for (later, position) in index.iter_mut().enumerate().skip(axis + 1) {
            start -= std::mem::take(position) * at.strides[later];
        }
        index[axis] += 1;
        start += at.strides[axis];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn picked(shape: &[usize], strides: &[usize], offset: usize, order: ByteOrder) -> Stored {
        let source = Arc::new(Source::Held((0..48).collect()));
        let at = Strided { offset, shape: shape.to_vec(), strides: strides.to_vec() };
        assert!(at.end().unwrap() <= 20);
        Stored::picked(&source, Dtype::I16, 8..48, order, at)
    }

    #[test]
    fn elements_come_in_the_order_of_their_indices() {
        use ByteOrder::{Big, Little};
        // The storage's element i is the bytes 8 + 2i and 9 + 2i.
        for (shape, strides, offset, order, expected, is_borrowed) in [
            (&[3][..], &[1][..], 2, Little, &[2, 3, 4][..], true),
            (&[2, 3], &[3, 1], 1, Little, &[1, 2, 3, 4, 5, 6], true),
            (&[2, 3], &[1, 2], 0, Little, &[0, 2, 4, 1, 3, 5], false),
            (&[2, 2, 2], &[1, 2, 6], 3, Little, &[3, 9, 5, 11, 4, 10, 6, 12], false),
            (&[2, 2], &[0, 1], 7, Little, &[7, 8, 7, 8], false),
            (&[2, 1, 2], &[2, 99, 1], 0, Little, &[0, 1, 2, 3], true),
            (&[], &[], 5, Little, &[5], true),
            (&[], &[], 5, Big, &[5], false),
            (&[2], &[3], 0, Big, &[0, 3], false),
            (&[0, 4], &[4, 1], 9, Little, &[], true),
        ] {
            let tensor = picked(shape, strides, offset, order);
            let element = |i: &u8| {
                let pair = [8 + 2 * i, 9 + 2 * i];
                if order == Big { [pair[1], pair[0]] } else { pair }
            };
            let expected: Vec<u8> = expected.iter().flat_map(element).collect();
            let bytes = tensor.bytes();
            assert_eq!(*bytes, expected[..], "{shape:?} {strides:?}");
            assert_eq!(matches!(bytes, Cow::Borrowed(_)), is_borrowed, "{shape:?} {strides:?}");
            assert_eq!(tensor.n_bytes(), expected.len());
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        let far = |shape: &[usize], strides: &[usize], offset| {
            Strided { offset, shape: shape.to_vec(), strides: strides.to_vec() }.end()
        };
        for (shape, strides, offset, end) in [
            (&[2][..], &[usize::MAX][..], 0, None),
            (&[1], &[usize::MAX], 0, Some(1)),
            (&[], &[], usize::MAX, None),
            (&[3, 3], &[usize::MAX / 2, 1], 2, None),
            (&[0, usize::MAX], &[usize::MAX, 1], usize::MAX, Some(0)),
        ] {
            assert_eq!(far(shape, strides, offset), end, "{shape:?} {strides:?}");
        }
        assert_eq!(n_elements(&[usize::MAX, 2]), None);
        assert_eq!(n_elements(&[usize::MAX, 2, 0]), Some(0));
    }
}
