//! Tables that the host computes and a kernel reads.

use std::sync::{Arc, OnceLock};

/// What the host knows, and its copy on the device, which is made once when first asked for.
///
/// Clones share the copy: all layers of a forward pass read one, and so does the backward pass.
#[derive(Debug, Clone)]
pub struct HostTable<I, T = u32> {
    host: Arc<[T]>,
    device: Arc<OnceLock<I>>,
}

impl<I: Clone, T> HostTable<I, T> {
    /// A table that no device has yet.
    pub fn new(entries: impl Into<Arc<[T]>>) -> Self {
        Self {
            host: entries.into(),
            device: Arc::default(),
        }
    }

    /// The entries.
    pub fn host(&self) -> &Arc<[T]> {
        &self.host
    }

    /// The copy on the device; `upload` makes it, if it is not there yet.
    pub fn on_device(&self, upload: impl FnOnce(&[T]) -> I) -> I {
        self.device.get_or_init(|| upload(&self.host)).clone()
    }
}

impl<I: Clone, T> Default for HostTable<I, T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_copy_on_the_device() {
        let table = HostTable::<usize>::new(vec![4, 5]);
        let clone = table.clone();
        assert_eq!(table.on_device(<[u32]>::len), 2);
        assert_eq!(clone.on_device(|_| unreachable!("a second upload")), 2);
        assert_eq!(clone.host().as_ref(), [4, 5]);
    }
}
