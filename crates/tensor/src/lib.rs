//! Everything libtorch: tensors, networks, weights files, optimisers, the training loop.

mod bridge;
pub mod device;
mod error;
#[cfg(test)]
mod fixture;
mod layer;
mod network;
mod optimizer;
mod tensors;
mod train;
pub mod weights;

pub use error::{Result, TensorError};
pub use layer::{Layer, Mode};
pub use network::Network;
pub use optimizer::{Group, Optimizer};
pub use tensors::Tensors;
pub use train::{Begin, EarlyStopping, Examples, History, Loss, Training, train};
