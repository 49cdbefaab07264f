//! Data parallelism on the CPU: one sequence or batch a core.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::device::is_cpu;

/// One pool of one thread a core.
///
/// burn's CPU backend splits single operations over the rayon pool it is called from. For models
/// of a few million weights that costs more than it brings; whole sequences on separate cores are
/// twice as fast. Inside a pool of one thread an operation is not split.
static CORES: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    (0..n_cores).filter_map(|_| ThreadPoolBuilder::new().num_threads(1).build().ok()).collect()
});

/// Number of cores, each of which works on one item at a time.
pub fn n_cores() -> usize {
    CORES.len().max(1)
}

/// Parallel map: applies `f` to every item, on all cores. The results are in the order of the items
/// and do not depend on the number of cores.
pub fn map<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Sync) -> Vec<R> {
    let n_items = items.len();
    if CORES.len() < 2 || n_items < 2 {
        return match CORES.first() {
            Some(core) => core.install(|| items.into_iter().map(&f).collect()),
            None => items.into_iter().map(f).collect(),
        };
    }
    let next = AtomicUsize::new(0);
    let cells: Vec<Mutex<(Option<T>, Option<R>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    let work = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let item = cell.lock().expect("no holder panics").0.take().expect("taken once");
            let result = f(item);
            cell.lock().expect("no holder panics").1 = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for core in CORES.iter().take(n_items) {
            scope.spawn(|| core.install(work));
        }
    });
    cells
        .into_iter()
        .map(|cell| cell.into_inner().expect("no holder panics").1.expect("every item was done"))
        .collect()
}

/// Parallel [`map`] where the device is the CPU; on another device, which has its own parallelism
/// and memory for few items, one item after the other.
pub fn map_on<T: Send, R: Send>(
    device: &Device,
    items: Vec<T>,
    f: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    if is_cpu(device) { map(items, f) } else { items.into_iter().map(f).collect() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_the_order_of_the_items() {
        let squares = super::map((0..100_u64).collect(), |it| it * it);
        assert_eq!(squares, (0..100_u64).map(|it| it * it).collect::<Vec<_>>());
        assert!(super::map(Vec::<u8>::new(), |it| it).is_empty());
    }
}
