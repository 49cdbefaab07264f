//! KV caches: keys and values of sequences that are being generated, in the memory of a device for
//! many sequences together, or in that of the program for one.
//!
//! They know neither models nor tokens.

use burn::tensor::{DType, Device, FloatDType, Tensor};

/// KV cache of a batch of sequences on a device, one row of positions a sequence.
#[derive(Debug, Clone)]
pub struct BatchKvCache {
    /// Number of positions of each sequence.
    pub lengths: Vec<usize>,
    /// Positions there is room for, per sequence.
    pub(crate) capacity: usize,
    /// Numbers a position: key heads times head width.
    width: usize,
    /// Type of the numbers.
    pub(crate) number_type: FloatDType,
    /// Per layer, keys and values, each `[B·capacity, K·E]`; `None` only while they are updated.
    pub(crate) layers: Vec<Option<[Tensor<2>; 2]>>,
}

impl BatchKvCache {
    /// Empty cache of `n_seqs` sequences, with `width` numbers a position.
    pub(crate) fn new(
        n_seqs: usize,
        n_layers: usize,
        width: usize,
        number_type: FloatDType,
    ) -> Self {
        let layers = vec![None; n_layers];
        Self { lengths: vec![0; n_seqs], capacity: 0, width, number_type, layers }
    }

    /// Copy of one of the sequences, in a cache of its own.
    pub(crate) fn copy_of(&self, slot: usize) -> Self {
        let (length, capacity) = (self.lengths[slot], self.capacity);
        let rows = slot * capacity..slot * capacity + length;
        let copied = |stored: &Tensor<2>| stored.clone().slice_dim(0, rows.clone());
        let layers = self
            .layers
            .iter()
            .map(|layer| layer.as_ref().map(|tensors| tensors.each_ref().map(copied)));
        Self {
            lengths: vec![length],
            capacity: length,
            width: self.width,
            number_type: self.number_type,
            layers: layers.collect(),
        }
    }

    /// Puts a sequence with a cache of its own in the place of another.
    pub(crate) fn put(&mut self, slot: usize, one: &Self, device: &Device) {
        let length = one.lengths[0];
        self.reserve(length, device);
        self.lengths[slot] = length;
        if length == 0 {
            return;
        }
        let first = slot * self.capacity;
        for (layer, one) in self.layers.iter_mut().zip(&one.layers) {
            let (Some(stored), Some(one)) = (layer.take(), one) else { continue };
            let put = |stored: Tensor<2>, one: &Tensor<2>| {
                let one = one.clone().slice_dim(0, 0..length);
                stored.slice_assign([first..first + length, 0..self.width], one)
            };
            let [keys, values] = stored;
            *layer = Some([put(keys, &one[0]), put(values, &one[1])]);
        }
    }

    /// Makes room for `longest` positions a sequence, keeping what is there.
    pub(crate) fn reserve(&mut self, longest: usize, device: &Device) {
        if longest <= self.capacity {
            return;
        }
        let (n_seqs, width) = (self.lengths.len(), self.width);
        let capacity = longest.next_power_of_two().max(64);
        for layer in &mut self.layers {
            let grown = |stored: Option<Tensor<2>>| {
                let number_type = DType::from(self.number_type);
                let fresh = Tensor::<3>::zeros([n_seqs, capacity, width], (device, number_type));
                let all = match stored {
                    None => fresh,
                    Some(stored) => {
                        let stored = stored.reshape([n_seqs, self.capacity, width]);
                        fresh.slice_assign([0..n_seqs, 0..self.capacity], stored)
                    }
                };
                all.reshape([n_seqs * capacity, width])
            };
            *layer = Some(match layer.take() {
                None => [grown(None), grown(None)],
                Some([keys, values]) => [grown(Some(keys)), grown(Some(values))],
            });
        }
        self.capacity = capacity;
    }
}

/// KV cache of one sequence in the program's memory.
#[derive(Debug, Clone)]
pub(crate) struct CpuKvCache {
    /// Per layer, keys and values, each `[L, K·E]`.
    pub(crate) layers: Vec<[Vec<f32>; 2]>,
}

impl CpuKvCache {
    /// Empty cache.
    pub(crate) fn new(n_layers: usize) -> Self {
        Self { layers: vec![[Vec::new(), Vec::new()]; n_layers] }
    }

    /// Number of positions, of `width` = K·E numbers each.
    pub(crate) fn n_positions(&self, width: usize) -> usize {
        self.layers.first().map_or(0, |[keys, _]| keys.len() / width)
    }

    /// Makes room for `n_positions` in all, and for no more.
    pub(crate) fn reserve(&mut self, n_positions: usize, width: usize) {
        for numbers in self.layers.iter_mut().flatten() {
            numbers.reserve_exact((n_positions * width).saturating_sub(numbers.len()));
        }
    }

    /// Gives back the room that was made and not used.
    pub(crate) fn shrink(&mut self) {
        for numbers in self.layers.iter_mut().flatten() {
            numbers.shrink_to_fit();
        }
    }
}
