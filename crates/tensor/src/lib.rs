//! Everything libtorch: tensors, networks, weights files, optimisers, the training loop.

pub mod architectures;
mod bridge;
mod checkpoint;
pub mod device;
mod error;
mod find_rate;
#[cfg(test)]
mod fixture;
pub mod layer;
mod load;
mod loss;
mod network;
mod optimizer;
mod pictures;
pub mod rows;
mod schedule;
pub mod surgery;
mod tensors;
mod train;
pub mod weights;

pub use error::{Result, TensorError};
pub use find_rate::{RateCurve, find_rate, gradient_shares};
pub use layer::{ForwardPass, Layer, Mode, Named, Role, Shape};
pub use load::load_weights;
pub use loss::Loss;
pub use network::{Block, Network};
pub use optimizer::{Group, Optimizer};
pub use pictures::Pictures;
pub use rows::{Batch, Examples, Mixed, Rehearsed, Supply};
pub use schedule::Schedule;
pub use tensors::Tensors;
pub use train::{Anchor, Begin, EarlyStopping, History, Thawed, Training, loss_of, train};
